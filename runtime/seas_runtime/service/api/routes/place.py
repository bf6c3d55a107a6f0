"""One photograph in, one pair out, at once."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.methods.noise import MAX_SEED
from seas_runtime.service.api.access import Limited, Operator, Service
from seas_runtime.service.api.bodies import uploaded

router = APIRouter(tags=["place"])


@router.post("/v1/place")
async def place(
    request: Request,
    box: Service,
    limits: Limited,
    caller: Operator,
    bundle: Annotated[str, Query(pattern="^[0-9a-f]{64}$")],
    defect: Annotated[str, Query(min_length=1, max_length=200)],
    seed: Annotated[int, Query(ge=0, le=MAX_SEED)] = 0,
) -> dict[str, Any]:
    """Draw a defect into the photograph that is the body; image and mask are PNG files in base64.

    While a job runs on the device, it is made between two of the job's batches.
    """
    with limits.one_of("placings"):
        async with uploaded(request, box.settings.max_photograph_mb) as path:
            await run_in_threadpool(box.photographs.check, path)
            future = await run_in_threadpool(box.place, path, path.parent, bundle, defect, seed)
            found = await asyncio.wrap_future(future)
            if "error" in found:
                words = str(found["error"]).replace(str(path.resolve()), "photograph")
                raise UserError(words) if found.get("mistake") else CheckFailed(words)
            files = {name: (path.parent / f"{name}.png").read_bytes() for name in ("image", "mask")}
    box.audit.note(caller.name, "placed", bundle=bundle, defect=defect, seed=seed)
    return {
        **{name: base64.b64encode(data).decode() for name, data in files.items()},
        "accepted": found["record"]["accepted"],
        "record": found["record"],
    }
