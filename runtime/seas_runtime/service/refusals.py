"""Mistakes of a request that have an HTTP status of their own; any other `UserError` is a 422."""

from __future__ import annotations

from seas_runtime.errors import UserError


class NotThere(UserError):
    """What is asked for does not exist: 404."""


class Conflict(UserError):
    """It does not fit what is there now: 409."""


class NoRoom(UserError):
    """The disk is too full to begin something: 507."""


class TooLarge(UserError):
    """A body over its limit: 413."""


class TooMany(UserError):
    """Over a limit of requests, uploads or streams: 429."""


class NotAllowed(UserError):
    """The caller's role does not reach: 403."""


class Unknown(UserError):
    """The caller has not said who they are: 401."""
