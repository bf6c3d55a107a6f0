"""What watches the service: is it alive, can it work, and its figures for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from seas_runtime.service.api.access import Service, Viewer

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(box: Service) -> Response:
    """Whether jobs are taken: 503 with the reason where not."""
    reasons = []
    if box.stopping.is_set():
        reasons.append("stopping")
    if box.upkeep.room() is not None:
        reasons.append("disk")
    if not any(device.alive for device in box.devices):
        reasons.append("devices")
    return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)


@router.get("/metrics", response_class=Response)
def metrics(box: Service, caller: Viewer) -> Response:
    """Figures in Prometheus' text format; a scraper gives a viewer's token."""
    return Response(box.measures.text(box.gauges()), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/status")
async def status(box: Service, caller: Viewer) -> dict[str, Any]:
    """The queue, the devices and the disk at a glance."""
    return {
        "jobs": box.queue.counts(),
        "devices": [
            {"name": device.name, "job": device.job, "alive": device.alive} for device in box.devices
        ],
        "disk_free_gb": round(box.state.free_bytes() / 1e9, 1),
        "waiting_for_room": box.upkeep.room(),
        "notice": box.queue.notice,
    }
