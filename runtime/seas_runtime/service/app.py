"""The application: routes, page, errors in words, and headers that keep a browser from doing harm."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.service import refusals
from seas_runtime.service.api.limits import Limits
from seas_runtime.service.api.routes import admin, bundles, downloads, health, jobs, pairs, photographs, place
from seas_runtime.service.box import Box

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
_STATUS: dict[type[UserError], int] = {
    refusals.Unknown: 401,
    refusals.NotAllowed: 403,
    refusals.NotThere: 404,
    refusals.Conflict: 409,
    refusals.TooLarge: 413,
    refusals.TooMany: 429,
    refusals.NoRoom: 507,
}
_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def make_app(box: Box) -> FastAPI:
    """Return the application of a box that is running."""
    settings = box.settings
    app = FastAPI(
        title="seas-export",
        description="Generates labelled image/mask pairs beside the line.",
        version="1",
        docs_url=None,  # its page comes from another host
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.box = box
    app.state.limits = Limits(settings.requests_per_second, settings.uploads, settings.streams)
    for one in (bundles, photographs, jobs, pairs, downloads, place, admin, health):
        app.include_router(one.router)
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(CheckFailed, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Around, box=box)
    return app


class Around:
    """Around every answer: headers, a count, and a check of the host where no token is asked for."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], box: Box) -> None:
        self._app, self._box = app, box

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = False

        async def send_on(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                given = {name for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(one for one in extra if one[0] not in given)]
                self._box.measures.requests[scope["method"], message["status"]] += 1
            await send(message)

        if self._box.settings.open_localhost and not _is_local(scope):
            refused = JSONResponse({"error": "host: expected this machine's own name"}, status_code=403)
            return await refused(scope, receive, send_on)
        try:
            await self._app(scope, receive, send_on)
        except Exception:
            logger.exception("%s %s", scope["method"], scope["path"])
            if began:
                raise
            words = "the service failed at this; its log says more"
            await JSONResponse({"error": words}, status_code=500)(scope, receive, send_on)


def _is_local(scope: Scope) -> bool:
    """Whether a browser asked for this machine by its own name: no page of another one that points here."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return host.rpartition(":")[0] in _LOCAL_NAMES or host in _LOCAL_NAMES


def _without_places(request: Request, words: str) -> str:
    """Return a message without this machine's folders."""
    settings = request.app.state.box.settings
    for folder, name in ((settings.state, "STATE"), (settings.bundles, "BUNDLES")):
        for text in (str(folder.resolve()), str(folder.absolute())):
            words = words.replace(text, name)
    return words


async def _refused(request: Request, error: Exception) -> Response:
    status = _STATUS.get(type(error), 422) if isinstance(error, UserError) else 422
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "2"}}.get(status)
    return JSONResponse({"error": _without_places(request, str(error))}, status_code=status, headers=headers)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": _without_places(request, str(error))}, status_code=503)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [
        f"{'.'.join(str(part) for part in item['loc'][1:]) or item['loc'][0]}: {item['msg']}"
        for item in error.errors()[:5]
    ]
    return JSONResponse({"error": "; ".join(said)}, status_code=422)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)
