"""The split of a product's photographs into training and test, as in the SeaS paper, and its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from seas_train.data.images import Fit, Masks, Resize, Window
from seas_train.data.layouts import Layout
from seas_train.settings import Count, Settings

T = TypeVar("T")


@dataclass(frozen=True)
class PhotographsConfig(Settings):
    """Options of reading and splitting a product's photographs."""

    layout: Layout | None = None
    """None detects it."""
    fit: Fit = Fit.CROP
    window: Window | tuple[float, float] = Window.AUTO
    """The values of the files that become black and white; see Preprocessing.window."""
    masks: Masks = Masks.AUTO
    """How masks are read."""
    resize: Resize | None = None
    """How pictures are scaled; None for sharp, or as the rules want it that are reproduced."""
    shots: Count | None = None
    """Training pairs of each defect; None for the first third."""
    normals: Count = 60
    """Training normals at most (SeaS paper, section 4.1)."""
    defects: tuple[str, ...] | None = None
    """Names or labels of the defects to use; None for all."""


def training_pairs(pairs: int, shots: int | None) -> int:
    """Return how many of a defect's pairs train: a third, rounded down but at least one, or `shots`.

    The third is the SeaS authors' (paper, section 4.1; their code: `max(int(n / 3), 1)`).
    """
    wanted = max(1, pairs // 3) if shots is None else shots
    return min(pairs, wanted)


def divide(items: Sequence[T], count: int) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the first `count` items and the rest."""
    return tuple(items[:count]), tuple(items[count:])
