"""How far two results lie apart: PSNR of images, IoU of masks, differences over a tensor's range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME = 999.0
"""The PSNR of images that are the same, in dB: JSON has no infinity."""


def squared_error(image: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the sum of the squared differences."""
    return float(np.square(image.astype(np.float64) - other).sum())


def psnr(squares: float, values: int) -> float:
    """Return the PSNR (peak signal-to-noise ratio) of 8-bit images, in dB: `squares` summed over `values`."""
    return 10 * math.log10(255**2 * values / squares) if squares else SAME


def overlap(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixels of the intersection and of the union; pairs are pooled by adding them up."""
    return int((mask & other).sum()), int((mask | other).sum())


def iou(intersection: int, union: int, empty: float = 1.0) -> float:
    """Return intersection over union; `empty` where both masks are."""
    return intersection / union if union else empty


def largest_difference(made: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest absolute difference; NaN where there is one."""
    return float(np.abs(made.astype(np.float64) - expected).max())


def extent(array: NDArray[Any]) -> float:
    """Return a tensor's range, largest minus smallest; of a constant one its magnitude, or one."""
    return float(array.max()) - float(array.min()) or float(np.abs(array).max()) or 1.0
