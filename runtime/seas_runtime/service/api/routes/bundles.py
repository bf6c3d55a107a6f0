"""Bundles: which there are, and a packed one that is uploaded."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from seas_runtime.service.api.access import Admin, Service, Viewer
from seas_runtime.service.api.bodies import uploaded
from seas_runtime.service.assets.pictures import background

router = APIRouter(prefix="/v1/bundles", tags=["bundles"])


@router.get("")
def list_bundles(box: Service, caller: Viewer) -> dict[str, Any]:
    """Every bundle that is there: defects, parity with PyTorch, licences."""
    return {"bundles": [found.shown() for found in box.bundles.all()]}


@router.post("", status_code=201)
async def upload_bundle(request: Request, box: Service, caller: Admin) -> dict[str, Any]:
    """Take a packed bundle (`seas-export pack`) as the body, checked as `unpack` does."""
    async with uploaded(request, box.settings.max_bundle_mb, ".zip") as archive:
        found = await run_in_threadpool(box.bundles.take, archive)
    box.audit.note(caller.name, "bundle uploaded", bundle=found.fingerprint, product=found.manifest.product)
    return found.shown()


@router.get("/{bundle}/photographs/{index}", response_class=Response)
def bundle_photograph(bundle: str, index: int, box: Service, caller: Viewer) -> Response:
    """One of the normals that a bundle carries, as PNG of 8 bits."""
    return Response(background(box.bundles.read(bundle), index), media_type="image/png")
