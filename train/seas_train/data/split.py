"""Which images and pairs train and which test, as the SeaS paper divides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
DEFAULT_NORMALS = 60  # SeaS paper, section 4.1


def training_pairs(pairs: int, shots: int | None) -> int:
    """Return how many of a defect's pairs train: a third, rounded down but at least one, or `shots`.

    The third is the SeaS authors' (paper, section 4.1; their code: `max(int(n / 3), 1)`).
    """
    wanted = max(1, pairs // 3) if shots is None else shots
    return min(pairs, wanted)


def divide(items: Sequence[T], count: int) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the first `count` items and the rest."""
    return tuple(items[:count]), tuple(items[count:])
