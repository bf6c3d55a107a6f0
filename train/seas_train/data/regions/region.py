"""A region of a photograph: cut out, and resized to the base's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Region:
    """A square of a photograph, in its pixels; may stick out where the photograph is smaller."""

    left: int
    top: int
    side: int

    def cut(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the region [side, side, ...] of [H, W, ...]; beyond a border its pixels are repeated."""
        height, width = pixels.shape[:2]
        rows = np.clip(np.arange(self.top, self.top + self.side), 0, height - 1)
        columns = np.clip(np.arange(self.left, self.left + self.side), 0, width - 1)
        return pixels[rows[:, None], columns]


def resize_pixels(window: NDArray[np.uint8], size: int, *, bilinear: bool = False) -> NDArray[np.uint8]:
    """Resize a window [side, side, 3] to [size, size, 3], antialiased where it becomes smaller."""
    method = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(np.ascontiguousarray(window)).resize((size, size), method))


def resize_mask(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Resize a window's mask [side, side] to [size, size].

    A pixel is marked where at least half of it is covered; of a mask that is nowhere so wide, where it is
    covered half as much as anywhere. A mask that marks something never becomes empty.
    """
    values = Image.fromarray(np.ascontiguousarray(mask, dtype=np.float32))
    covered = np.asarray(values.resize((size, size), Image.Resampling.BOX))
    most = float(covered.max())
    return covered >= min(0.5, most / 2) - 1e-6 if most > 0 else np.zeros((size, size), bool)
