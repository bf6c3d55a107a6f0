"""How a pair came to be: what a request asked, and what each attempt gave."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.generation.noise import MAX_SEED
from seas_runtime.manifest.fields import describe

MAX_COUNT = 1_000_000
"""Pairs of a request: the files' names have six digits."""
MAX_BATCH = 64
MAX_RETRIES = 3


@dataclass(frozen=True)
class GraphTimes:
    """Seconds that a pair took in each graph and in all: its share of its batches, over its attempts."""

    step: float = 0.0
    decode_mask: float = 0.0
    decode_image: float = 0.0
    total: float = 0.0

    def __add__(self, other: GraphTimes) -> GraphTimes:
        return GraphTimes(
            self.step + other.step,
            self.decode_mask + other.decode_mask,
            self.decode_image + other.decode_image,
            self.total + other.total,
        )

    def divided(self, count: int) -> GraphTimes:
        """Return each pair's share of a batch of `count`."""
        return GraphTimes(
            self.step / count, self.decode_mask / count, self.decode_image / count, self.total / count
        )


@dataclass(frozen=True)
class Attempt:
    """One try at a pair: where it started, its mask's fraction of the image, why it was rejected."""

    attempt: int
    reference: int
    mask_area: float
    rejected: str | None


@dataclass(frozen=True)
class PairRecord:
    """How a pair came to be. `accepted` is False if every attempt was rejected."""

    seed: int
    index: int
    defect: str
    accepted: bool
    attempts: tuple[Attempt, ...]
    reference: int
    sampler: str
    steps: int
    guidance: float
    tau: float
    bundle: str
    times: GraphTimes

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values; times in seconds to the microsecond."""
        result = asdict(self)
        result["attempts"] = [asdict(attempt) for attempt in self.attempts]
        result["times"] = {name: round(seconds, 6) for name, seconds in asdict(self.times).items()}
        return result


@dataclass(frozen=True, eq=False)
class GeneratedPair:
    """An image, its mask, and their record; of a rejected pair, the last attempt's."""

    image: npt.NDArray[np.uint8]  # [H, W, 3], RGB
    mask: npt.NDArray[np.uint8]  # [H, W], 0 or 255
    probability: npt.NDArray[np.float32]  # [H, W], 0 to 1: the mean over the masked steps
    record: PairRecord


def check_integer(option: str, value: object, low: int, high: int) -> None:
    """Raise UserError naming `option` unless `value` is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{option}: expected a whole number from {low} to {high}, found {describe(value)}")


def check_number(option: str, value: object, low: float, high: float) -> None:
    """Raise UserError naming `option` unless `value` is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UserError(f"{option}: expected a number from {low} to {high}, found {describe(value)}")


def check_sampling(
    seed: int, batch: int, guidance: float | None, tau: float | None, steps: int | None
) -> None:
    """Raise UserError naming an option that is out of range; None stands for the bundle's default."""
    check_integer("seed", seed, 0, MAX_SEED)
    check_integer("batch", batch, 1, MAX_BATCH)
    if guidance is not None:
        check_number("guidance", guidance, 0.0, 100.0)
    if tau is not None:
        check_number("tau", tau, 0.0, 1.0)
    if steps is not None:
        check_integer("steps", steps, 1, 1000)
