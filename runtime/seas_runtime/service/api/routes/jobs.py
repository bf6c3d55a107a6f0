"""Jobs: queue, follow, pause, cancel, remove."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from seas_runtime.service.api.access import Limited, Operator, Service, Viewer
from seas_runtime.service.api.schemas import NewJob, Priority, job_shown
from seas_runtime.service.assets.pictures import area
from seas_runtime.service.box import Box
from seas_runtime.service.refusals import Conflict
from seas_runtime.service.state.queue import Job, Status
from seas_runtime.service.work.asked import Asked

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_LOOK = 0.5
"""Seconds between two looks at a job that is followed."""
_KEEP_ALIVE = 15.0


@router.get("")
async def list_jobs(
    box: Service,
    caller: Viewer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    status: Status | None = None,
) -> dict[str, Any]:
    """Jobs, the newest first."""
    jobs = box.queue.newest(limit, offset, status.value if status else None)
    return {"jobs": [job_shown(job) for job in jobs], "counts": box.queue.counts()}


@router.post("", status_code=201)
def create_job(new: NewJob, box: Service, caller: Operator) -> dict[str, Any]:
    """Queue a job. It is checked against its bundle before; the same request gives the same pairs."""
    values = new.model_dump(exclude={"legal", "priority"})
    legal = None if new.legal is None else area(new.legal.width, new.legal.height, new.legal.polygons)
    job = box.add(Asked.from_dict(values), caller.name, new.priority, legal)
    box.audit.note(caller.name, "job queued", job=job.id, total=job.total)
    return job_shown(job)


@router.get("/{id}")
async def get_job(id: str, box: Service, caller: Viewer) -> dict[str, Any]:
    """A job, and how long its last pairs took in seconds."""
    return _shown(box, box.job(id))


@router.get("/{id}/events", response_class=StreamingResponse)
async def follow_job(id: str, request: Request, box: Service, limits: Limited, caller: Viewer) -> Response:
    """Server-sent events: the job whenever it has changed, until it is over."""
    job = await run_in_threadpool(box.job, id)
    limits.hold("streams")

    async def events() -> AsyncIterator[bytes]:
        try:
            said, quiet = "", 0.0
            while not box.stopping.is_set() and not await request.is_disconnected():
                now = await run_in_threadpool(box.queue.get, job.id)
                if now is None:
                    return
                text = json.dumps(_shown(box, now))
                if text != said:
                    yield f"event: job\ndata: {text}\n\n".encode()
                    said, quiet = text, 0.0
                elif quiet >= _KEEP_ALIVE:
                    yield b": still here\n\n"
                    quiet = 0.0
                if now.over:
                    return
                await asyncio.sleep(_LOOK)
                quiet += _LOOK
        finally:
            limits.release("streams")

    return StreamingResponse(
        events(),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


@router.post("/{id}/{wish}")
def ask_job(
    id: str, wish: Literal["pause", "resume", "cancel"], box: Service, caller: Operator
) -> dict[str, Any]:
    """Pause, resume or cancel a job; a running one heeds it at its next step, and its pairs stay."""
    job = box.ask(id, wish)
    box.audit.note(caller.name, f"job {wish}", job=id)
    return job_shown(job)


@router.put("/{id}/priority")
def prefer_job(id: str, wanted: Priority, box: Service, caller: Operator) -> dict[str, Any]:
    """Let a job go before or after others."""
    box.queue.prefer(box.job(id).id, wanted.priority)
    box.audit.note(caller.name, "job priority", job=id, priority=wanted.priority)
    return job_shown(box.job(id))


@router.delete("/{id}", status_code=204)
def remove_job(id: str, box: Service, caller: Operator) -> Response:
    """Remove a job that is over, with its pairs and what was said of them."""
    job = box.job(id)
    if not job.over:
        raise Conflict(f"job: it is {job.status.value}; cancel it first")
    box.upkeep.remove(job)
    box.audit.note(caller.name, "job removed", job=id)
    return Response(status_code=204)


def _shown(box: Box, job: Job) -> dict[str, Any]:
    return {**job_shown(job), "recent": box.measures.recent(job.id)}
