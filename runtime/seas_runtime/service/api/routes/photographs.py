"""Sets of normal photographs that defects are drawn into."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from seas_runtime.service.api.access import Operator, Service, Viewer
from seas_runtime.service.api.bodies import uploaded
from seas_runtime.service.assets.pictures import SIZES, shown

router = APIRouter(prefix="/v1/photographs", tags=["photographs"])


@router.get("")
def list_sets(box: Service, caller: Viewer) -> dict[str, Any]:
    """The sets of photographs that were uploaded."""
    return {"sets": box.photographs.sets()}


@router.get("/{name}")
def list_photographs(name: str, box: Service, caller: Viewer) -> dict[str, Any]:
    """The photographs of a set."""
    return {"name": name, "photographs": box.photographs.names(name)}


@router.put("/{name}/{picture}", status_code=201)
async def upload_photograph(
    name: str, picture: str, request: Request, box: Service, caller: Operator
) -> dict[str, Any]:
    """Take a photograph as the body: PNG, JPEG, TIFF, BMP or WebP. The set is made where there is none."""
    async with uploaded(request, box.settings.max_photograph_mb) as path:
        done = await run_in_threadpool(box.photographs.take, path, name, picture)
    box.audit.note(caller.name, "photograph uploaded", set=name, photograph=done["name"])
    return done


@router.get("/{name}/{picture}", response_class=Response)
def photograph(
    name: str,
    picture: str,
    box: Service,
    caller: Viewer,
    size: Annotated[int | None, Query(ge=SIZES[0], le=SIZES[1])] = None,
) -> Response:
    """A photograph as PNG of 8 bits; with `size` at most so many pixels high and wide."""
    return Response(shown(box.photographs.file(name, picture), size), media_type="image/png")
