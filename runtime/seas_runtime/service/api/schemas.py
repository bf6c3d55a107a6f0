"""What is sent to the API, and the main things that it answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from seas_runtime.dataset.choosing import MAX_OVERSAMPLE
from seas_runtime.generation.records import MAX_BATCH, MAX_COUNT
from seas_runtime.methods.noise import MAX_SEED
from seas_runtime.methods.seas_options import MASK_STEPS
from seas_runtime.service.state.queue import PRIORITIES, Job
from seas_runtime.service.state.reviews import MOST_TEXT

_STRICT = ConfigDict(extra="forbid")
_PRINT = "7f3a9c51e0b24d68"


class Area(BaseModel):
    """A legal area that was drawn on a photograph: polygons of its pixels."""

    model_config = _STRICT
    width: int = Field(ge=1, le=65535)
    height: int = Field(ge=1, le=65535)
    polygons: list[list[tuple[float, float]]] = Field(min_length=1, max_length=50)


class NewJob(BaseModel):
    """A job to queue. What is left out is the bundle's own."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"bundle": _PRINT * 4, "defects": ["scratch"], "count": 50, "seed": 1, "onto": "line-3"}
            ]
        },
    )
    bundle: str = Field(pattern="^[0-9a-f]{64}$", description="A bundle's id.")
    defects: list[str] = Field(
        min_length=1, max_length=100, description="Names of defects, `good` for normals, or `all`."
    )
    count: int = Field(8, ge=1, le=MAX_COUNT, description="Pairs of each.")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    batch: int = Field(1, ge=1, le=MAX_BATCH, description="Pairs made at a time.")
    onto: str = Field(
        "auto",
        max_length=64,
        description="`auto`, `bundle` (the photographs in it), `noise` (whole pictures), or a set's name.",
    )
    where: Literal["auto", "foreground", "anywhere"] = "auto"
    per_picture: tuple[int, int] = Field((1, 1), description="The fewest and the most masks in a picture.")
    per_background: tuple[int, int] | None = Field(
        None, description="Placements in a row on one photograph, and pairs in a row of each."
    )
    legal: Area | None = None
    sampler: str | None = Field(None, max_length=64)
    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=0, le=100)
    tau: float | None = Field(None, ge=0, le=1)
    strength: float | None = Field(None, ge=0, le=1)
    mask_steps: int | None = Field(None, ge=1, le=MASK_STEPS)
    oversample: float = Field(1.0, ge=1, le=MAX_OVERSAMPLE)
    gate: bool = True
    priority: int = Field(0, ge=PRIORITIES[0], le=PRIORITIES[1], description="Higher ones go first.")


class Priority(BaseModel):
    """Which jobs go first."""

    model_config = _STRICT
    priority: int = Field(ge=PRIORITIES[0], le=PRIORITIES[1])


class Opinion(BaseModel):
    """What a person says of a pair; what is left out stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"verdict": "rejected", "reason": "the scratch is too straight"}]},
    )
    verdict: Literal["accepted", "rejected"] | None = None
    reason: str = Field("", max_length=MOST_TEXT)
    comment: str = Field("", max_length=MOST_TEXT)


class SignIn(BaseModel):
    """A token, or the code of a one-time link."""

    model_config = _STRICT
    token: str = Field(min_length=1, max_length=200)


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "line 3", "role": "operator", "days": 365}]}
    )
    name: str = Field(min_length=1, max_length=64)
    role: Literal["viewer", "operator", "admin"]
    days: float | None = Field(None, gt=0, le=36500)


def job_shown(job: Job) -> dict[str, Any]:
    """Return what the API says of a job."""
    return {
        "id": job.id,
        "status": job.status.value,
        "wish": job.wish,
        "done": job.done,
        "total": job.total,
        "priority": job.priority,
        "owner": job.owner,
        "device": job.device,
        "backend": job.backend,
        "message": job.message,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "request": job.request,
    }
