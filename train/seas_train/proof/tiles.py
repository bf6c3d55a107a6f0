"""Runs a segmenter over a photograph of any size, in tiles that overlap."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from seas_train.proof.segmenters.contract import Segmenter

TILE, OVERLAP = 320, 64
"""Pixels of a tile's sides at most, and by how much neighbours overlap at least."""

FloatArray = NDArray[np.float32]


@torch.inference_mode()
def find_defects(model: Segmenter, picture: NDArray[np.uint8], device: str, tile: int = TILE) -> FloatArray:
    """Return the logits [h, w] of a picture [h, w, 3]; where tiles overlap they are mixed, the nearer their
    middles the more. Pictures that are smaller than a tile are mirrored to the next size that fits."""
    height, width = picture.shape[:2]
    sides = [min(tile, -(-side // model.multiple) * model.multiple) for side in (height, width)]
    padded = _mirrored(picture, max(sides[0], height), max(sides[1], width))
    total = np.zeros(padded.shape[:2], np.float32)
    weight = np.zeros(padded.shape[:2], np.float32)
    ramp = np.outer(_ramp(sides[0]), _ramp(sides[1]))
    layout = torch.channels_last if device == "cpu" else torch.contiguous_format
    for top in starts(padded.shape[0], sides[0]):
        for left in starts(padded.shape[1], sides[1]):
            here = np.s_[top : top + sides[0], left : left + sides[1]]
            shown = torch.from_numpy(np.ascontiguousarray(padded[here])).permute(2, 0, 1)[None].float() / 255
            found = model.logits(shown.to(device, memory_format=layout))[0].float().cpu().numpy()
            total[here] += ramp * found
            weight[here] += ramp
    return np.asarray((total / weight)[:height, :width], np.float32)


def starts(length: int, side: int, overlap: int = OVERLAP) -> list[int]:
    """Return where tiles begin that cover a length, evenly, with `overlap` pixels in common at least."""
    if length <= side:
        return [0]
    count = 1 + -(-(length - side) // max(1, side - overlap))
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def _ramp(side: int) -> FloatArray:
    """Return weights [side] that fall towards the ends, and nowhere to 0."""
    places = np.arange(side)
    return np.asarray(np.minimum(places + 1, side - places) / (side / 2), np.float32)


def _mirrored(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture grown to a size at its lower and right edge by what lies before it."""
    places = []
    for side, wanted in zip(picture.shape[:2], (height, width), strict=True):
        there = np.arange(wanted) % max(2 * side - 2, 1)
        places.append(np.minimum(there, 2 * side - 2 - there) if side > 1 else there * 0)
    return picture[np.ix_(*places)]
