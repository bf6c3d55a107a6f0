"""Who asks, and whether they may: a token in a header or in the page's cookie, and the role of a route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from seas_runtime.service.api.limits import Limits
from seas_runtime.service.box import Box
from seas_runtime.service.refusals import NotAllowed, Unknown
from seas_runtime.service.state.tokens import Role

COOKIE = "seas_token"
OWN_HEADER = "x-seas"
"""The page sends it with what it changes: a foreign page cannot without asking us first."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOCAL = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    role: Role


def box_of(request: Request) -> Box:
    """Return the service that answers."""
    box: Box = request.app.state.box
    return box


def limits_of(request: Request) -> Limits:
    """Return its limits."""
    limits: Limits = request.app.state.limits
    return limits


async def _service(request: Request) -> Box:
    return box_of(request)


async def _limited(request: Request) -> Limits:
    return limits_of(request)


# These, and the routes that are asked all the time, wait for nothing: a thread for each would cost more
# than its work, and generation would lose the time.
Service = Annotated[Box, Depends(_service)]
Limited = Annotated[Limits, Depends(_limited)]


def identify(request: Request) -> Caller:
    """Return who asks; raises Unknown, NotAllowed or TooMany."""
    box, limits = box_of(request), limits_of(request)
    address = request.client.host if request.client else "unknown"
    given, by_cookie = _given(request)
    if given is None:
        if box.settings.open_localhost and address in _LOCAL:
            limits.count(address)
            _check_own_header(request)
            return Caller("localhost", Role.ADMIN)
        limits.count(address)
        raise Unknown("token: expected one, as `Authorization: Bearer seas_...`, found none; sign in")
    token = box.tokens.find(given)
    if token is None or token.once:
        limits.guessed(address)
        box.audit.note("unknown", "refused", address=address, path=request.url.path)
        raise Unknown("token: it is not known, or its time is over; ask an administrator for a new one")
    limits.count(token.id)
    if by_cookie:
        _check_own_header(request)
    return Caller(token.name, token.rank)


def needs(role: Role) -> Callable[[Request], Awaitable[Caller]]:
    """Return a dependency that lets in who has this role, or one above it."""

    async def allowed(request: Request) -> Caller:
        caller = identify(request)
        if caller.role < role:
            box_of(request).audit.note(caller.name, "refused", path=request.url.path, needs=role.word)
            raise NotAllowed(f"role: this needs {role.word}, and this token is a {caller.role.word}'s")
        return caller

    allowed.role = role  # type: ignore[attr-defined]
    return allowed


Viewer = Annotated[Caller, Depends(needs(Role.VIEWER))]
Operator = Annotated[Caller, Depends(needs(Role.OPERATOR))]
Admin = Annotated[Caller, Depends(needs(Role.ADMIN))]


def _given(request: Request) -> tuple[str | None, bool]:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip(), False
    cookie = request.cookies.get(COOKIE)
    return (cookie, True) if cookie else (None, False)


def _check_own_header(request: Request) -> None:
    if request.method not in _SAFE and request.headers.get(OWN_HEADER) is None:
        raise NotAllowed("x-seas: expected this header with a change that a browser's cookie allows")
