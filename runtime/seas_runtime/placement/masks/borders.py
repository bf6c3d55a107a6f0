"""Shapes that a photograph's border cuts off: on another photograph its border cuts them off again.

A chipped edge and a band across the surface reach the border in each photograph. Were they placed as others
are, they would float, with a straight cut in the middle of the surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seas_runtime.placement.appearance.looks import Look
from seas_runtime.placement.masks.shapes import Shape
from seas_runtime.placement.morphology import BoolArray, box_of, cut_to_box

NEAR = 1.5
"""Pixels from the border at most at which a mask is cut off by it."""
BEYOND = 0.1
"""Of the longer side: how far a shape is continued beyond the border before it is made anew."""
TURN = math.radians(2)
WARP = 0.01
"""How far such a shape is turned and bent at most, by what it is continued: it reaches the border then."""


@dataclass(frozen=True)
class Sides:
    """Which of a photograph's borders cut a shape off."""

    top: bool = False
    left: bool = False
    bottom: bool = False
    right: bool = False

    @property
    def any(self) -> bool:
        """Whether one does."""
        return self.top or self.left or self.bottom or self.right

    @property
    def across(self) -> bool:
        """Whether the shape lies across all of the photograph's width."""
        return self.left and self.right

    @property
    def down(self) -> bool:
        """Whether it lies down all of its height."""
        return self.top and self.bottom

    def turned(self, turned: npt.NDArray[np.float32]) -> Sides:
        """Return those of a shape that was mirrored or turned by half a turn: `turned` [2, 2] takes (across,
        down) of the real one to the new one's."""
        sides = self
        if turned[0, 0] < 0:
            sides = Sides(sides.top, sides.right, sides.bottom, sides.left)
        if turned[1, 1] < 0:
            sides = Sides(sides.bottom, sides.left, sides.top, sides.right)
        return sides

    def scales(self, usual: float, before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
        """Return by how much a shape is scaled down and across, for photographs of (height, width) before and
        after: as usual, or with the photograph where it goes from border to border."""
        return (
            after[0] / before[0] if self.down else usual,
            after[1] / before[1] if self.across else usual,
        )

    def pinned(
        self, place: tuple[int, int], mask: tuple[int, int], photograph: tuple[int, int]
    ) -> tuple[int, int]:
        """Return where a mask of (height, width) begins: at its borders, and at `place` along others."""
        top, left = place
        top = 0 if self.top else photograph[0] - mask[0] if self.bottom else top
        left = 0 if self.left else photograph[1] - mask[1] if self.right else left
        return top, left


NO_SIDES = Sides()


def sides_of(shape: Shape) -> Sides:
    """Return which borders cut a shape off, whose spot is one over the whole photograph."""
    (height, width), (whole_height, whole_width) = shape.mask.shape, shape.photograph
    top, left = shape.spot[0] * whole_height - height / 2, shape.spot[1] * whole_width - width / 2
    return Sides(
        top < NEAR,
        left < NEAR,
        top + height > whole_height - NEAR,
        left + width > whole_width - NEAR,
    )


def continued(mask: BoolArray, sides: Sides) -> tuple[BoolArray, int]:
    """Return a mask [h, w] that goes on beyond the borders that cut it off, and by how many pixels."""
    beyond = math.ceil(BEYOND * max(mask.shape)) if sides.any else 0
    widths = [
        (beyond * one, beyond * other)
        for one, other in ((sides.top, sides.bottom), (sides.left, sides.right))
    ]
    return np.pad(mask, widths, mode="edge"), beyond


def cut_off(
    mask: BoolArray, look: Look | None, sides: Sides, beyond: tuple[int, int]
) -> tuple[BoolArray, Look | None]:
    """Return a mask [h, w] and its look without `beyond` rows and columns at the borders."""
    height, width = mask.shape
    down, across = beyond
    top, left = down * sides.top, across * sides.left
    bottom, right = height - down * sides.bottom, width - across * sides.right
    kept = np.zeros_like(mask)
    kept[top:bottom, left:right] = mask[top:bottom, left:right]
    if not kept.any():
        return mask, look
    return cut_to_box(kept), None if look is None else look.cut(box_of(kept))
