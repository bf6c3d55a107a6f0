"""A job's pairs as a zip file, in any format of `convert`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from seas_runtime.dataset.formats.convert import Format
from seas_runtime.service.api.access import Limited, Service, Viewer
from seas_runtime.service.assets.selection import stream_zip, write_selection

router = APIRouter(prefix="/v1/jobs/{id}/download", tags=["downloads"])


@router.get("", response_class=StreamingResponse)
def download(
    id: str,
    box: Service,
    limits: Limited,
    caller: Viewer,
    format: Format = Format.MVTEC,
    pairs: Literal["accepted", "all"] = "all",
    val: Annotated[float, Query(ge=0, le=0.9)] = 0.2,
) -> StreamingResponse:
    """A zip file, streamed: `all` pairs but those that a person rejected, or the `accepted` ones alone.

    Masks are as people drew them again. A job that is still running gives what it has.
    """
    source = box.pairs_of(id)
    with ExitStack() as stack:
        stack.enter_context(limits.one_of("streams"))
        scratch = stack.enter_context(box.state.scratch("download"))
        folder = write_selection(source, format, scratch, accepted=pairs == "accepted", val=val)
        kept = stack.pop_all()

    def chunks() -> Iterator[bytes]:
        with kept:
            yield from stream_zip(folder)

    box.audit.note(caller.name, "download", job=id, format=format.value, pairs=pairs)
    return StreamingResponse(
        chunks(),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{id}-{format.value}.zip"'},
    )
