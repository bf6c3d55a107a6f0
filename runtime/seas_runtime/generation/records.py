"""How a pair came to be: what a request asked, and what each attempt gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.methods.request import Request, given_options
from seas_runtime.photographs.png import encode_picture
from seas_runtime.placement.regions import Region

MAX_COUNT = 1_000_000
"""Pairs of a request: the files' names have six digits."""
MAX_BATCH = 64
MAX_RETRIES = 3


@dataclass(frozen=True)
class Times:
    """Seconds that a pair took in each graph and in all: its share of its batches, over its attempts."""

    graphs: Mapping[str, float]
    """By what was run; steps without guidance are steps."""
    total: float

    def __add__(self, other: Times) -> Times:
        graphs = {name: seconds + other.graphs[name] for name, seconds in self.graphs.items()}
        return Times(graphs, self.total + other.total)

    def and_of(self, name: str, seconds: float) -> Times:
        """Return these with the seconds of something else that was run."""
        return Times({**self.graphs, name: seconds}, self.total + seconds)

    def divided(self, count: int) -> Times:
        """Return each pair's share of a batch of `count`."""
        return Times({name: time / count for name, time in self.graphs.items()}, self.total / count)

    def to_dict(self) -> dict[str, float]:
        """Return the seconds by name, `total` last."""
        return {**self.graphs, "total": self.total}


@dataclass(frozen=True)
class Attempt:
    """One try at a pair."""

    attempt: int
    """Its number, from 0."""
    origin: Mapping[str, Any]
    """Where it started, in the method's words, as JSON values."""
    mask_area: float
    """The mask's fraction of the image."""
    rejected: str | None
    """Why it was rejected."""

    def to_dict(self) -> dict[str, Any]:
        """Return the attempt as JSON values."""
        return {
            "attempt": self.attempt,
            **self.origin,
            "mask_area": self.mask_area,
            "rejected": self.rejected,
        }


@dataclass(frozen=True)
class PairRecord:
    """How a pair came to be. `accepted` is False if every attempt was rejected."""

    request: Request
    """With the bundle's defaults filled in."""
    index: int
    accepted: bool
    attempts: tuple[Attempt, ...]
    bundle: str
    """Its fingerprint."""
    times: Times
    score: float | None = None
    """How near its region is to real defects, 0 to 1; None where it is not measured."""
    device: str | None = None
    """What computed it, where devices of several kinds make one dataset's pairs."""
    weak: bool = False
    """Whether its mask is a box around the defect, not its outline."""

    @property
    def defect(self) -> str:
        """The request's defect, `good` for a normal."""
        return self.request.defect

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where the last attempt started."""
        return self.attempts[-1].origin

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values; times in seconds to the microsecond."""
        sampling = self.request.sampling
        return {
            "seed": self.request.seed,
            "index": self.index,
            "defect": self.defect,
            "accepted": self.accepted,
            **({} if self.score is None else {"score": round(self.score, 6)}),
            **({"weak": True} if self.weak else {}),
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            **self.origin,
            "sampler": sampling.sampler,
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "tau": sampling.tau,
            **({"options": options} if (options := given_options(self.request.options)) else {}),
            **({"placing": placing.to_dict()} if (placing := self.request.placing) else {}),
            "bundle": self.bundle,
            **({"device": self.device} if self.device else {}),
            "times": {name: round(seconds, 6) for name, seconds in self.times.to_dict().items()},
        }


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attempt at a pair gave; as `GeneratedPair` has it."""

    image: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]  # [H, W]
    probability: npt.NDArray[np.float32] | None
    rejected: str | None
    """Why it is rejected."""
    origin: Mapping[str, Any]
    """Where it started, in the method's words, as JSON values."""
    times: Times
    region: Region | None = None
    score: float | None = None
    weak: bool = False


@dataclass(frozen=True, eq=False)
class GeneratedPair:
    """An image, its mask, and their record; of a rejected pair, the last attempt's.

    A placed pair's image is its photograph with the defect drawn into it: of the photograph's size, channels
    and bit depth.
    """

    image: npt.NDArray[Any]  # uint8 [H, W, 3], RGB; of a placed pair uint8 or uint16 [H, W] or [H, W, 2 to 4]
    mask: npt.NDArray[np.uint8]  # [H, W], 0 or 255
    probability: npt.NDArray[np.float32] | None
    """[H, W], 0 to 1, of a placed pair [S, S] of its region; None where the method measures no mask."""
    record: PairRecord
    region: Region | None = None
    """Of a placed pair: the part of the photograph that was drawn anew."""

    def encode(self, name: str) -> bytes:
        """Return its `image` or its `mask` as a PNG."""
        return encode_picture({"image": self.image, "mask": self.mask}[name])
