"""Grain: how rough a surface is, and how a drawn defect gets as much of it as a real one has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.placement.morphology import BoolArray, grow

MOST_ROUGH = 5.0
"""The most grain of a defect by that of its surroundings that is believed."""
INSIDE = 3
"""Pixels from its edge on are a mask's inside."""
MOST_GRAIN = 2.0
"""By how much the grain of a look is raised at most where sampling took it."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


def mean_around(values: FloatArray) -> FloatArray:
    """Return the mean of each pixel [h, w] or [h, w, C] and its eight neighbours; the border's own are
    repeated."""
    padded = np.pad(values, ((1, 1), (1, 1), *((0, 0),) * (values.ndim - 2)), "edge")
    tall = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray((tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:]) / 9, np.float32)


def inside(mask: BoolArray) -> BoolArray:
    """Return what of a mask lies away from its edge."""
    return ~grow(~mask, INSIDE)


def grain_of(pixels: npt.NDArray[Any], where: BoolArray) -> float:
    """Return the grain of pixels [h, w, 3], in levels: the median difference of one from the mean around it,
    `where` [h, w]; 0 where that is nowhere."""
    if not where.any():
        return 0.0
    grey = np.asarray(pixels, np.float32).mean(-1)
    return float(np.median(np.abs(grey - mean_around(grey))[where]))


def with_grain(made: FloatArray, real: FloatArray) -> FloatArray:
    """Return a look [h, w, 3] that was sampled from a `real` one [H, W, 3] with as much grain as that has.

    A sample between pixels is a mean of them, so that a surface that is turned or bent a little loses its
    grain, by which a segmenter then knows what was drawn. Grain is the median difference of a pixel from the
    mean around it, which a defect's few edges do not move.
    """
    fine, wanted = made - mean_around(made), real - mean_around(real)
    left = float(np.median(np.abs(fine)))
    if left <= 0:
        return made
    gain = min(MOST_GRAIN, max(1.0, float(np.median(np.abs(wanted))) / left))
    raised: FloatArray = made + np.float32(gain - 1) * fine
    return raised


def as_rough(laid: FloatArray, window: UInt8Array, mask: BoolArray, wanted: float) -> FloatArray:
    """Return what is laid into a window [h, w, 3] where `mask` [h, w] is, with a grain of `wanted` levels.

    As it is where that is 0, and of a stroke, whose fine detail is the stroke itself. What a look that was
    made larger lacks of grain is the photograph's own. Outside of the mask nothing changes, and a step at its
    edge is no grain: raised as such it would be a line along the outline, which no real defect has.
    """
    where = inside(mask)
    found = grain_of(laid, where)
    if wanted <= 0 or found <= 0 or 2 * where.sum() < mask.sum():
        return laid
    gain = min(MOST_GRAIN, wanted / found)
    rough: FloatArray = laid + np.float32(gain - 1) * _fine(laid, mask)
    there, lacking = grain_of(window, where), wanted**2 - (gain * found) ** 2
    if lacking > 0 and there > 0:
        rough += np.float32(math.sqrt(lacking) / there) * _fine(window.astype(np.float32), mask)
    return rough


def _fine(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Return by how much values [h, w, 3] differ from the mean of those around them that lie in a mask [h, w]
    as well; 0 outside of it."""
    within = mask[..., None].astype(np.float32)
    means = mean_around(within * values) / np.maximum(mean_around(within), np.float32(1 / 9))
    return np.asarray(within * (values - means), np.float32)
