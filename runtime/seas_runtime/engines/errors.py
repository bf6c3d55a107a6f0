"""Errors of engines, one class for each cause: a caller can tell which a rebuild mends."""

from __future__ import annotations

from seas_runtime.errors import UserError


class EngineError(UserError):
    """An engine that is not loaded. `command` builds one that would be; it is part of the message too."""

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command


class EngineMissing(EngineError):
    """No engine of this graph for this target."""


class EngineForeign(EngineError):
    """An engine for another device, or from another machine."""


class EngineStale(EngineError):
    """An engine of another graph, other weights or another version of the backend."""


class EngineWrongBatch(EngineError):
    """An engine for other batch sizes."""


class EngineDamaged(EngineError):
    """An engine, or its index, that is truncated, changed or was never ours."""


class EngineStoreUnwritable(EngineError):
    """The cache cannot be written: a read-only or full disk."""
