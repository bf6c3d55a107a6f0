"""Keeps the tone of a look that a few steps would wash out.

A small model that redraws a wide, faint defect pulls its brightness back to that of the surface: the mask
then lies on what looks normal. What makes a defect stand out more stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seas_runtime.methods.placed.gates import box_mean

RADIUS = 1 / 16
"""Of the window's side: tone is the mean over squares of twice that."""

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


def keep_tone(
    window: UInt8Array, start: UInt8Array, drawn: UInt8Array, rebuilt: UInt8Array, mask: BoolArray
) -> UInt8Array:
    """Return what was drawn [S, S, 3] without what fades the look in the placement `mask` [S, S].

    Args:
        window: the photograph's region, [S, S, 3].
        start: the same with the look laid into it.
        drawn: what the steps made of that.
        rebuilt: what encoding and decoding alone make of it.
        mask: the placement.
    """
    if not mask.any():
        return drawn
    look, change = (
        _tone(np.subtract(one, other, dtype=np.float32), mask)
        for one, other in ((start, window), (drawn, rebuilt))
    )
    fades = np.where(look * change < 0, change, 0)
    kept: UInt8Array = np.clip(np.rint(drawn - fades), 0, 255).astype(np.uint8)
    return kept


def _tone(difference: FloatArray, mask: BoolArray) -> FloatArray:
    """Return the means of a difference [S, S, 3] around the mask's pixels, taken over such; 0 elsewhere."""
    radius, inside = max(1, round(RADIUS * mask.shape[0])), mask.astype(np.float32)[..., None]
    shares = np.maximum(box_mean(inside, radius), 1e-6)
    return np.asarray(inside * box_mean(inside * difference, radius) / shares, np.float32)
