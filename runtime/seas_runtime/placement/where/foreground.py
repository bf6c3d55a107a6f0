"""Finds the part on a photograph: what is unlike the colour along the photograph's border."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.placement.morphology import BoolArray, box_of, fill_holes, largest_part

SIDE = 256
"""Pixels of the longer side that a photograph is looked at with."""
BORDER = 0.02
"""Of the shorter side: how wide the border is whose median colour is the background's."""
CONTRAST = 0.65
"""The least share of the variance of distances that lies between part and background, at Otsu's threshold.
Two plain areas have nearly 1, a single uneven one has some 0.6 (a normal distribution has 2 / pi)."""
ON_BORDER = 0.25
"""The most of the border that may belong to the part."""
SMALLEST = 0.005
"""The least of the photograph that is a part."""
SYMMETRY_GRID = 64
SYMMETRIC = 0.9
"""IoU of a part with itself, turned, from which on the turn makes no difference."""
LOOKED_AT = 16
AGREEING = 0.75
"""The least share of a product's photographs that must show a part for it to have a background."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """The part on a photograph: `mask` [h, w] at a small size of the photograph, not empty."""

    mask: BoolArray

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right, each 0 to 1 over the photograph."""
        top, left, bottom, right = box_of(self.mask)
        height, width = self.mask.shape
        return top / height, left / width, bottom / height, right / width

    def on(self, size: tuple[int, int]) -> BoolArray:
        """Return the mask at another (height, width), by nearest neighbour."""
        return self.window(size, 0, 0, *size)

    def window(self, size: tuple[int, int], top: int, left: int, height: int, width: int) -> BoolArray:
        """Return a window [height, width] of the mask at the photograph's (height, width) `size`."""
        rows = (np.arange(top, top + height) + 0.5) / size[0] * self.mask.shape[0]
        columns = (np.arange(left, left + width) + 0.5) / size[1] * self.mask.shape[1]
        return self.mask[np.ix_(rows.astype(int), columns.astype(int))]

    def is_round(self, size: tuple[int, int]) -> bool:
        """Whether any turn takes the part to itself, nearly: an eighth does, as of no other usual form."""
        turn = math.sqrt(0.5) * np.array([[1.0, -1.0], [1.0, 1.0]])
        return self.keeps(size, turn)

    def keeps(self, size: tuple[int, int], turned: npt.NDArray[np.floating]) -> bool:
        """Whether a turn [2, 2] of (across, down) about the box's centre takes the part to itself, nearly.

        `size` is the photograph's (height, width).
        """
        top, left, bottom, right = self.box
        centre = np.array([(left + right) / 2 * size[1], (top + bottom) / 2 * size[0]])
        reach = math.hypot((right - left) * size[1], (bottom - top) * size[0]) / 2
        steps = (np.arange(SYMMETRY_GRID) + 0.5) / SYMMETRY_GRID * 2 - 1
        places = np.stack(np.meshgrid(steps, steps)) * reach  # [2, n, n], across and down
        here, there = (
            self._at(size, np.tensordot(matrix, places, 1) + centre[:, None, None])
            for matrix in (np.eye(2), turned)
        )
        return float((here & there).sum()) >= SYMMETRIC * float((here | there).sum())

    def _at(self, size: tuple[int, int], places: FloatArray) -> BoolArray:
        """Return the mask at places [2, n, n], across and down in pixels; False outside of the photograph."""
        across, down = places[0] / size[1], places[1] / size[0]
        inside = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
        height, width = self.mask.shape
        rows = np.clip(down * height, 0, height - 1).astype(int)
        columns = np.clip(across * width, 0, width - 1).astype(int)
        found: BoolArray = self.mask[rows, columns] & inside
        return found


WHOLE = Part(np.ones((1, 1), bool))
"""Where a photograph shows nothing but the part."""


def shows_background(photographs: Iterable[UInt8Array]) -> bool:
    """Whether a product's photographs [H, W, 3] show a part on a background, by the first of them.

    One alone does not tell: an uneven surface falls into two areas now and then.
    """
    found = [foreground(pixels) is not None for pixels in islice(photographs, LOOKED_AT)]
    return bool(found) and sum(found) >= AGREEING * len(found)


def find_part(pixels: UInt8Array, background: bool) -> Part:
    """Return the part on a photograph [H, W, 3]; all of it where the product has no background, or none is
    found."""
    mask = foreground(pixels) if background else None
    return WHOLE if mask is None else Part(mask)


def foreground(pixels: UInt8Array) -> BoolArray | None:
    """Return the part on a photograph [H, W, 3], bool of at most SIDE pixels; None where there is no plain
    background.

    Otsu's threshold (1979) on the distance to the median colour of the border; the largest part, without
    holes.
    """
    small = reduced_picture(pixels).astype(np.float64)
    border = _border(small.shape[:2])
    distance = np.sqrt(((small - np.median(small[border], axis=0)) ** 2).sum(axis=2))
    threshold, contrast = otsu(distance)
    mask = distance > threshold
    if contrast < CONTRAST or mask[border].mean() > ON_BORDER:
        return None
    mask = fill_holes(largest_part(mask))
    return mask if mask.mean() >= SMALLEST else None


def reduced_picture(pixels: UInt8Array) -> UInt8Array:
    """Return a photograph [H, W, 3] with at most SIDE pixels a side."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX, reducing_gap=2.0))


def otsu(values: FloatArray) -> tuple[float, float]:
    """Return the threshold between two groups of values, and the share of variance between them, 0 to 1."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low, 0.0
    counts, edges = np.histogram(values, 256, (low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts) / counts.sum()
    mean = np.cumsum(counts * centres) / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((mean[-1] * below - mean) ** 2 / (below * (1 - below)), posinf=0.0)
    best = int(np.argmax(between))
    total = float((counts * (centres - mean[-1]) ** 2).sum() / counts.sum())
    return float(edges[best + 1]), float(between[best] / total) if total > 0 else 0.0


def _border(size: tuple[int, int]) -> BoolArray:
    wide = max(1, round(BORDER * min(size)))
    inner = np.zeros(size, bool)
    inner[wide:-wide, wide:-wide] = True
    return ~inner
