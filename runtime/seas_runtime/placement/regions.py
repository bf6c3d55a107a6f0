"""The square window around a defect, at the photograph's own resolution, that a base sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.placement.appearance.looks import Look, joined_looks
from seas_runtime.placement.morphology import BoolArray, Box, box_of, cut_to_box

SMALLEST = 48
"""Pixels of a window's side at least: less shows nothing of the surface around."""
RATIO = (1.5, 6.0)
"""A window's side by the longer side of the defect's box, in training."""
DRAWN_RATIO = (2.0, 4.0)
"""The same in generation: not the ends, which training sees least of."""
JITTER = 0.5
"""How much of the way from the middle to the window's edge a defect may lie off."""
SAME = 0.125
"""A window whose side differs from the base's by less than this share takes it: nothing is resampled."""
THINNEST = 0.05
"""Share of a pixel that a line covers at least to be drawn where a mask is made smaller."""
SPARE = 1.2
"""The least side of a window by the box's that is kept where a photograph is too low for more."""

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Placed:
    """A mask on a photograph: `mask` [h, w], cut to its box, whose corner lies at `left` and `top`."""

    mask: BoolArray
    left: int
    top: int
    look: Look | None = None
    """Of the real defect that it was made from."""

    @classmethod
    def of(cls, mask: BoolArray) -> Placed:
        """Return what is True in the mask [H, W] of a whole photograph; UserError for an empty one."""
        cut = cut_to_box(mask)
        top, left, _, _ = box_of(mask)
        return cls(cut, left, top)

    @property
    def box(self) -> Box:
        """Top, left, bottom and right (exclusive) on the photograph."""
        height, width = self.mask.shape
        return self.top, self.left, self.top + height, self.left + width

    def full(self, size: tuple[int, int]) -> BoolArray:
        """Return the mask [H, W] of the whole photograph."""
        made = np.zeros(size, bool)
        top, left, bottom, right = self.box
        made[top:bottom, left:right] = self.mask
        return made

    def joined(self, other: Placed) -> Placed:
        """Return both as one."""
        boxes = self.box, other.box
        top, left = (min(box[axis] for box in boxes) for axis in (0, 1))
        bottom, right = (max(box[axis] for box in boxes) for axis in (2, 3))
        made = np.zeros((bottom - top, right - left), bool)
        for one, (first, start, last, end) in zip((self, other), boxes, strict=True):
            made[first - top : last - top, start - left : end - left] |= one.mask
        looks = [look for look in (self.look, other.look) if look is not None]
        joined = joined_looks(looks, (self.mask, other.mask), boxes) if len(looks) == 2 else None
        return Placed(made, left, top, joined)

    def cut(self, kept: BoolArray) -> Placed:
        """Return the part of the mask that `kept` [h, w] leaves, which is something."""
        top, left, bottom, right = box = box_of(kept)
        look = None if self.look is None else self.look.cut(box)
        return Placed(kept[top:bottom, left:right], self.left + left, self.top + top, look)


@dataclass(frozen=True)
class Region:
    """A square of a photograph. It may stick out, on either side alike, where the photograph is smaller."""

    left: int
    top: int
    side: int

    def cut(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the window [side, side(, C)] of pixels [H, W(, C)]; outside, the border's are repeated."""
        rows, columns = self._indices(pixels.shape[0], self.top), self._indices(pixels.shape[1], self.left)
        inside = self.inside(pixels.shape[:2])
        if inside == (0, 0, self.side, self.side):
            return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return pixels[np.ix_(rows, columns)]

    def cut_mask(self, placed: Placed) -> BoolArray:
        """Return the part of a placement [side, side] that lies in the window."""
        made = np.zeros((self.side, self.side), bool)
        top, left, bottom, right = placed.box
        first, start = max(top, self.top), max(left, self.left)
        last, end = min(bottom, self.top + self.side), min(right, self.left + self.side)
        if first < last and start < end:
            made[first - self.top : last - self.top, start - self.left : end - self.left] = placed.mask[
                first - top : last - top, start - left : end - left
            ]
        return made

    def inside(self, size: Sequence[int]) -> Box:
        """Return the box of the window, in its pixels, that lies on a photograph of (height, width)."""
        (height, width), side = size, self.side
        top, left = max(0, -self.top), max(0, -self.left)
        return top, left, min(side, height - self.top), min(side, width - self.left)

    def on(self, size: Sequence[int]) -> tuple[slice, slice]:
        """Return the rows and columns of a photograph of (height, width) that lie in the window."""
        top, left, bottom, right = self.inside(size)
        rows = slice(self.top + top, self.top + bottom)
        return rows, slice(self.left + left, self.left + right)

    def _indices(self, length: int, start: int) -> npt.NDArray[np.intp]:
        return np.clip(np.arange(start, start + self.side), 0, length - 1)


def region_around(
    random: np.random.Generator,
    box: Placed | BoolArray | Box,
    size: tuple[int, int],
    base_size: int,
    ratio: tuple[float, float] = RATIO,
) -> Region:
    """Return a window around a placement, or around what a mask [H, W] or a box holds, on a photograph of
    (height, width) `size`.

    Its side is the box's longer one by a ratio drawn from `ratio` (evenly in its logarithm), not under
    SMALLEST, and no longer than the photograph's shorter side unless the box is; near `base_size`, the side
    of the base's pictures, it is that. It lies inside the photograph where it fits, and holds the whole box.
    """
    if isinstance(box, Placed):
        box = box.box
    elif isinstance(box, np.ndarray):
        box = box_of(box)
    top, left, bottom, right = box
    longest = max(bottom - top, right - left)
    side = round(longest * math.exp(random.uniform(*np.log(ratio))))
    if abs(side - base_size) < SAME * base_size and base_size >= ratio[0] * longest:
        side = base_size
    side = min(side, max(min(size), min(max(size), math.ceil(SPARE * longest))))
    side = max(side, SMALLEST, longest)
    return Region(
        _start(random, left, right, side, size[1]), _start(random, top, bottom, side, size[0]), side
    )


def resize_pixels(window: UInt8Array, side: int) -> UInt8Array:
    """Return pixels [h, w(, 3)] as [side, side(, 3)], bicubic and without aliasing."""
    if window.shape[:2] == (side, side):
        return window
    image = Image.fromarray(np.ascontiguousarray(window))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def resize_mask(mask: BoolArray, side: int) -> BoolArray:
    """Return a mask [h, w] as [side, side]: pixels of which it covers at least half.

    Of a larger mask, what is thinner than a pixel stays, a pixel wide: pixels count that are covered half as
    much as the most covered one beside them, and `THINNEST` at least. Of a mask that is not empty, at least
    those remain that it covers most.
    """
    if side >= min(mask.shape):
        return scale_mask(mask, (side, side))
    shares = _shares(mask, (side, side))
    around = np.pad(shares, 1)
    most = np.max([around[y : y + side, x : x + side] for y in range(3) for x in range(3)], axis=0)
    return _any_of(mask, shares, np.maximum(most / 2, THINNEST))


def scale_mask(mask: BoolArray, size: tuple[int, int], covered: float = 0.5) -> BoolArray:
    """Return a mask [h, w] at another (height, width): pixels of which it covers this share.

    Of a mask that is not empty, at least those that it covers most.
    """
    return mask if mask.shape == size else _any_of(mask, _shares(mask, size), covered)


def _shares(mask: BoolArray, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    smaller = size[0] < mask.shape[0] or size[1] < mask.shape[1]
    method = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize((size[1], size[0]), method))


def _any_of(
    mask: BoolArray, shares: npt.NDArray[np.float32], covered: float | npt.NDArray[np.float32]
) -> BoolArray:
    made: BoolArray = shares >= covered
    return made if made.any() or not mask.any() else shares >= shares.max()


def _start(random: np.random.Generator, low: int, high: int, side: int, length: int) -> int:
    """Return where a window of `side` begins along one axis: jittered, over low to high, inside if it can."""
    slack = side - (high - low)
    start = low - round(slack / 2 * (1 + JITTER * random.uniform(-1, 1)))
    if side >= length:
        return min(max((length - side) // 2, high - side), low)
    return min(max(start, 0), length - side)
