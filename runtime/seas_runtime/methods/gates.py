"""What a generated pair must pass before anybody trains on it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MIN_AREA = 0.0002
"""Smallest mask, as a fraction of the image: 0.02 %."""
MAX_AREA = 0.60
"""Largest mask, as a fraction of the image: beyond that it is not a defect on a product."""

BoolArray = npt.NDArray[np.bool_]


def mask_area(mask: BoolArray) -> float:
    """Return the foreground of `mask` [H, W] bool as a fraction of the image, 0 to 1."""
    return float(np.count_nonzero(mask)) / mask.size


def open_3x3(mask: BoolArray) -> BoolArray:
    """Return `mask` [H, W] bool eroded, then dilated, by a 3x3 square. Outside it is background."""
    return neighbourhood(neighbourhood(mask, np.logical_and), np.logical_or)


def rejection(
    latents: npt.NDArray[np.float32],
    probability: npt.NDArray[np.float32] | None,
    mask: BoolArray,
    normal: bool,
) -> str | None:
    """Return why a pair is rejected, or None if it passes.

    `latents` [C, h, w] are the final ones, `probability` [H, W] the mean map, where there is one, `mask`
    [H, W] the thresholded one. A normal passes with an empty mask alone: the mask head sees a defect in it
    otherwise.
    """
    if not all(np.isfinite(array).all() for array in (latents, probability) if array is not None):
        return "non-finite values"
    area = mask_area(mask)
    if normal:
        return "mask of a normal is not empty" if area > 0 else None
    if area < MIN_AREA:
        return f"mask under {MIN_AREA:.2%} of the image"
    if area > MAX_AREA:
        return f"mask over {MAX_AREA:.0%} of the image"
    if not open_3x3(mask).any():
        return "mask is only speckle"
    return None


def neighbourhood(mask: BoolArray, combine: np.ufunc) -> BoolArray:
    """Return `mask` [H, W] bool its 3x3 neighbourhoods combined: logical_and erodes, logical_or dilates.

    Outside the mask is background.
    """
    padded = np.pad(mask, 1)
    rows = combine(combine(padded[:-2], padded[1:-1]), padded[2:])
    result: BoolArray = combine(combine(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return result
