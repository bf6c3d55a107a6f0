"""What a pair that is drawn into a photograph must pass before anybody trains on it.

All arrays lie in the region as the model sees it: [S, S], at the size of its images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seas_runtime.methods.placed.bounds import PlacedBounds
from seas_runtime.placement.morphology import grow

GROWTH = 2
"""Latent cells by which the refined mask may reach beyond the placement."""
WORST = 0.9
"""A seam is judged by this quantile along the feather: a step on a tenth of its length is seen."""

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


def refine(found: BoolArray, placed: BoolArray, cell: int) -> BoolArray:
    """Return what the mask head found [S, S], inside the placement [S, S] grown by a few cells.

    `cell` is a latent cell's side in pixels of the image.
    """
    return found & grow(placed, GROWTH * cell)


def rejection_placed(
    window: UInt8Array,
    drawn: UInt8Array,
    placed: BoolArray,
    mask: BoolArray,
    latents: FloatArray,
    probability: FloatArray | None,
    bounds: PlacedBounds,
    weights: FloatArray,
) -> str | None:
    """Return why a placed pair is rejected, or None if it passes.

    Args:
        window: the photograph's region, [S, S, 3].
        drawn: what is pasted into it where the weights are 1, [S, S, 3].
        placed: where a defect was asked for, [S, S].
        mask: where one is, [S, S]: the refined mask, or the placement again.
        latents: the final ones, [C, h, w].
        probability: the mask head's mean map, [S, S], where there is one.
        bounds: the defect's.
        weights: how much of `drawn` is in the pasted picture, [S, S], 0 to 1.
    """
    if not all(np.isfinite(array).all() for array in (latents, probability) if array is not None):
        return "non-finite values"
    cell = max(1, window.shape[0] // latents.shape[-1])
    changed = change(window, drawn, placed, cell)
    if changed < bounds.change:
        return f"nothing drawn: {changed:.1f} grey levels of change, under {bounds.change:.1f}"
    if not mask.any():
        return "mask of a defect is empty"
    overlap = iou(mask, placed)
    if overlap < bounds.iou:
        return f"mask is not where the defect was placed: IoU {overlap:.2f}, under {bounds.iou:.2f}"
    step = seam(window, drawn, weights, mask, cell)
    if step > bounds.seam:
        return (
            f"visible seam: at the feather a step of {step:.1f} grey levels more than the photograph has "
            f"there, over {bounds.seam:.1f}"
        )
    return None


def as_pasted(window: UInt8Array, drawn: UInt8Array, rebuilt: UInt8Array) -> UInt8Array:
    """Return what is pasted: a window [S, S, 3] or what was laid into it, with what the U-Net changed of it.

    `rebuilt` is what encoding and decoding make of the same.
    """
    pasted: UInt8Array = np.clip(window + _difference(rebuilt, drawn), 0, 255).astype(np.uint8)
    return pasted


def change(window: UInt8Array, drawn: UInt8Array, placed: BoolArray, cell: int) -> float:
    """Return by how many grey levels `drawn` differs from `window` in the placement, on average.

    Pictures are compared in patches of half a cell, so that grain which the VAE does not keep is no change.
    """
    difference = box_mean(_difference(window, drawn), cell // 4)
    return float(np.abs(difference[placed]).mean()) if placed.any() else 0.0


def iou(mask: BoolArray, placed: BoolArray) -> float:
    """Return the intersection over union of two masks [S, S]; 0 where both are empty."""
    union = np.count_nonzero(mask | placed)
    return np.count_nonzero(mask & placed) / union if union else 0.0


def seam(window: UInt8Array, drawn: UInt8Array, weights: FloatArray, mask: BoolArray, cell: int) -> float:
    """Return how many grey levels the picture steps at the feather, less what the photograph does there.

    In patches of a latent cell: by how much `drawn` differs from `window`, less by how much the photograph's
    patch differs from the next ones, where the pasted picture is more of the photograph than drawn and no
    defect is: `mask` [H, W] and a cell around it are left out, as a defect that reaches the feather steps
    there by itself. Of all places there, the one that `WORST` of them do not exceed; without any 0.
    """
    edge = (weights > 0) & (weights <= 0.5) & ~grow(mask, cell)
    if not edge.any():
        return 0.0
    radius = cell // 2
    step = np.abs(box_mean(_difference(window, drawn), radius))[edge].mean(axis=-1)
    patches = box_mean(window.astype(np.float32), radius)
    padded = np.pad(patches, ((cell, cell), (cell, cell), (0, 0)), mode="edge")
    height, width = window.shape[:2]
    neighbours = [
        padded[cell + down : cell + down + height, cell + right : cell + right + width]
        for down, right in ((-cell, 0), (cell, 0), (0, -cell), (0, cell))
    ]
    own = np.mean([np.abs(other - patches)[edge].mean(axis=-1) for other in neighbours], axis=0)
    return float(np.quantile(step - own, WORST))


def box_mean(image: FloatArray, radius: int) -> FloatArray:
    """Return the mean of each pixel's square of `2 * radius + 1` pixels, as far as it lies in the image.

    `image` is [H, W] or [H, W, C].
    """
    ones = np.ones((*image.shape[:2], *(1,) * (image.ndim - 2)), np.float32)
    result: FloatArray = (_box_sum(image, radius) / _box_sum(ones, radius)).astype(np.float32)
    return result


def _difference(window: UInt8Array, drawn: UInt8Array) -> FloatArray:
    return drawn.astype(np.float32) - window.astype(np.float32)


def _box_sum(image: FloatArray, radius: int) -> npt.NDArray[np.float64]:
    """Return the sum over each pixel's square, zero outside of the image: by running sums along each axis."""
    result = image.astype(np.float64)
    for axis in (0, 1):
        size = result.shape[axis]
        sums = np.insert(np.cumsum(result, axis=axis), 0, 0.0, axis=axis)
        places = np.arange(size)
        high, low = np.minimum(places + radius + 1, size), np.maximum(places - radius, 0)
        result = np.take(sums, high, axis=axis) - np.take(sums, low, axis=axis)
    return result
