"""The surface that a defect lies on: what would be there without it, and the light across it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.placement.morphology import BoolArray, Box, box_of, grow, reduced

_REACH = 0.25
"""Of a mask's longer side: how far surroundings reach; at least 6 pixels."""
_RIM = 2
"""Pixels of a mask, beside its soft edge, that its rim is."""
UNEVEN = 24
"""Levels by which a surface may depart from the median of its surroundings: light falls unevenly, but what
departs by more is another thing, such as the part's edge."""
_WIDE = 0.25
"""Of a photograph's longer side: a defect that spans as much, and reaches the border, lies in light that is
not known from what surrounds it."""
_FILLED_AT = 256
"""Pixels of the longer side with which a surface is filled in: it is smooth."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


def reach_around(longest: int) -> int:
    """Return how many pixels the surroundings reach of a mask whose longer side is `longest`."""
    return max(6, math.ceil(_REACH * longest))


def surface_under(window: UInt8Array, hidden: BoolArray) -> FloatArray:
    """Return what a window [h, w, 3] shows, and where it is `hidden` [h, w] the surface around that."""
    pixels = window.astype(np.float32)
    if hidden.all():
        return fill_in(pixels, ~hidden)
    top, left, bottom, right = box_of(hidden) if hidden.any() else (0, 0, 0, 0)
    reach = reach_around(max(bottom - top, right - left))
    rows, columns = (slice(max(0, low - reach), high + reach) for low, high in ((top, bottom), (left, right)))
    near, unknown = pixels[rows, columns], hidden[rows, columns]
    if unknown.all():
        near, unknown, rows, columns = pixels, hidden, slice(None), slice(None)
    usual = np.median(near[~unknown], axis=0)
    smooth = np.clip(fill_in(near, ~unknown), usual - UNEVEN, usual + UNEVEN)
    pixels[rows, columns] = np.where(unknown[..., None], smooth, near)
    return pixels


def smoothed(window: UInt8Array, mask: BoolArray) -> FloatArray:
    """Return a window's light: without what is finer than a sixteenth of the mask's longer side."""
    cell = _cell(mask)
    coarse = Image.fromarray(window).resize(
        (max(1, window.shape[1] // cell), max(1, window.shape[0] // cell)), Image.Resampling.BOX
    )
    return np.asarray(coarse.resize((window.shape[1], window.shape[0]), Image.Resampling.BICUBIC), np.float32)


def tone_of(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Return what is as coarse as `smoothed` keeps it, of values [h, w, 3] within a mask [h, w]."""
    cell, inside = _cell(mask), mask[..., None].astype(np.float32)
    shares = np.maximum(_means(inside, cell), 1e-6)
    coarse = np.divide(_means(values * inside, cell), shares, dtype=np.float32)
    size = coarse.shape[0] * cell, coarse.shape[1] * cell
    return _resized(coarse, size)[: mask.shape[0], : mask.shape[1]]


def _cell(mask: BoolArray) -> int:
    """Return a sixteenth of a mask's longer side, in pixels."""
    top, left, bottom, right = box_of(mask)
    return max(1, max(bottom - top, right - left) // 16)


def is_wide(box: Box, shape: Sequence[int]) -> bool:
    """Whether a defect's box spans so much of a photograph of (height, width), and reaches its border."""
    top, left, bottom, right = box
    at_border = top <= 0 or left <= 0 or bottom >= shape[0] or right >= shape[1]
    return at_border and max(bottom - top, right - left) >= _WIDE * max(shape)


def without_slope(window: UInt8Array, inside: BoolArray, known: BoolArray, gap: int) -> FloatArray | None:
    """Return by how much a window [h, w, 3] differs from its light where a defect is, `inside` [h, w]; None
    where no surface is `known` within `gap` pixels of it.

    A parabola through the defect's pixels stands for the light, which falls off towards the flanks of a round
    part. It is moved by the defect's own tone: how far a plane through its pixels near the rim lies over one
    through the surface beside, in the mean along the rim.
    """
    rim = inside & grow(known, gap + _RIM)
    beside = known & grow(rim, 3 * gap)
    if not beside.any():
        return None
    places = np.indices(inside.shape).transpose(1, 2, 0) / max(inside.shape)
    terms = np.concatenate([places, np.ones((*inside.shape, 1))], -1)
    curved = np.concatenate([terms, places**2, places.prod(-1, keepdims=True)], -1)
    own, near, other = (
        np.linalg.lstsq(values[part], window[part].astype(float), rcond=None)[0]
        for values, part in ((curved, inside), (terms, inside & grow(rim, 2 * gap)), (terms, beside))
    )
    tone = terms[rim].mean(0) @ (near - other)
    return np.asarray(window - curved @ own + tone, np.float32)


def fill_in(pixels: FloatArray, known: BoolArray) -> FloatArray:
    """Return pixels [h, w, 3] whose unknown ones are a smooth surface through the known ones around.

    Coarser and coarser means of what is known, each where the finer one knows nothing (push and pull: Gortler
    et al., The Lumigraph, 1996, section 3.5). Where nothing is known it is the mean of all.
    """
    if known.all():
        return pixels
    if not known.any():
        return np.broadcast_to(pixels.mean((0, 1), keepdims=True), pixels.shape).astype(np.float32)
    factor = -(-max(known.shape) // _FILLED_AT)
    seen = ~reduced(~known, factor) if factor > 1 else known
    if not seen.any():
        factor, seen = 1, known
    shares = np.maximum(_means(known[..., None], factor), 1e-6)
    coarse = _means(pixels * known[..., None], factor) / shares
    smooth = _pulled(np.where(seen[..., None], coarse, 0), seen[..., None].astype(np.float32))
    full = _resized(smooth, known.shape) if factor > 1 else smooth
    return np.where(known[..., None], pixels, full)


def _pulled(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return values [h, w, 3] of which `weights` [h, w, 1], 0 to 1, are known; the unknown ones are 0."""
    if weights.min() >= 1 or max(weights.shape) == 1:
        return np.divide(values, np.maximum(weights, 1e-6), dtype=np.float32)
    shares = _means(weights, 2)
    level = np.minimum(4 * shares, 1)
    means = _means(values, 2) / np.maximum(shares, 1e-6)
    below = _pulled(np.multiply(means, level, dtype=np.float32), level)
    return values + (1 - weights) * _resized(below, (values.shape[0], values.shape[1]))


def _means(values: npt.NDArray[np.generic], factor: int) -> FloatArray:
    """Return the means of squares [ceil(h / factor), ceil(w / factor), C]; outside there are zeros."""
    array = np.asarray(values, np.float32)
    if factor == 1:
        return array
    down, across = (-size % factor for size in array.shape[:2])
    padded = np.pad(array, ((0, down), (0, across), (0, 0)))
    height, width, channels = padded.shape
    squares = padded.reshape(height // factor, factor, width // factor, factor, channels)
    return np.asarray(squares.mean((1, 3)), np.float32)


def _resized(values: FloatArray, size: Sequence[int]) -> FloatArray:
    """Return values [h, w, C] at another (height, width), bilinear."""
    shape = size[1], size[0]
    channels = [
        np.asarray(Image.fromarray(values[..., channel]).resize(shape, Image.Resampling.BILINEAR))
        for channel in range(values.shape[-1])
    ]
    return np.stack(channels, axis=-1)
