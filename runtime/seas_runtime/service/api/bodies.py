"""Bodies of uploads: written to the disk as they come, never more than the limit, and removed afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import Request

from seas_runtime.errors import UserError
from seas_runtime.service.api.access import box_of, limits_of
from seas_runtime.service.refusals import NoRoom, TooLarge

_SPARE = 256 << 20
"""Bytes that an upload leaves free beside itself."""


async def small_body(request: Request, most: int) -> bytes:
    """Return a whole body of at most so many bytes."""
    _check_length(request, most)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise TooLarge(f"body: expected at most {most} bytes, found more")
    return bytes(data)


@contextlib.asynccontextmanager
async def uploaded(request: Request, megabytes: float, suffix: str = "") -> AsyncIterator[Path]:
    """Write the request's body to a file of the state folder that is removed after the block."""
    box, most = box_of(request), int(megabytes * 1e6)
    length = _check_length(request, most)
    full = box.upkeep.room()
    if full is not None or box.state.free_bytes() < (length or 0) + _SPARE:
        raise NoRoom(full or "disk: there is no room for this upload; remove jobs first")
    with limits_of(request).one_of("uploads"), box.state.scratch("upload") as folder:
        path, size = folder / f"body{suffix}", 0
        try:
            with path.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > most:
                        raise TooLarge(f"body: expected at most {megabytes:g} MB, found more")
                    file.write(chunk)
        except OSError as error:
            raise NoRoom(f"body: cannot be written: {error.strerror}") from error
        if not size:
            raise UserError("body: expected a file, found nothing; send it as it is, not as a form")
        yield path


def _check_length(request: Request, most: int) -> int | None:
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise UserError("content-length: expected a number of bytes, found another text")
    if int(text) > most:
        raise TooLarge(f"body: expected at most {most} bytes, found {text}")
    return int(text)
