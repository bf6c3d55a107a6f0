"""Where re-weighting looks: masks that grow with the noise of a step."""

from __future__ import annotations

import numpy as np

from seas_runtime.manifest.schedule import Array, FloatArray

LOOK = "reweight_mask"
"""Input of the re-weighted step, fed each step: [B, 1, h, w], 1 where differences count."""
PHOTOGRAPH, PIXEL_MASK = "photograph", "reweight_pixels"
"""Inputs of the paper's form: the window [B, 3, S, S], -1 to 1, and its mask [B, 1, S, S]."""
_CODE_SIZE = 32
"""Cells of a side of the code's latents, which its growth is counted in."""


def growth(timestep: float, size: int) -> int:
    """Return by how many cells a mask grows in a step: floor((t + 100) 8 / 1000) of the code's 32, scaled."""
    return int((timestep + 100) * 8 / 1000) * size // _CODE_SIZE


def grown(masks: Array, cells: int) -> FloatArray:
    """Return masks [B, 1, h, w] grown by so many cells to each side and corner."""
    result = np.asarray(masks, np.float32)
    for axis in (2, 3):
        padding = [(0, 0)] * 4
        padding[axis] = (cells, cells)
        padded, length = np.pad(result, padding), result.shape[axis]
        places = [np.arange(start, start + length) for start in range(2 * cells + 1)]
        parts = [np.take(padded, place, axis=axis) for place in places]
        result = np.max(parts, axis=0)
    return result
