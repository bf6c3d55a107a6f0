"""Pastes what was drawn back into the photograph: beyond the feather every pixel is the photograph's own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from seas_runtime.photographs.values import Pixels, Values
from seas_runtime.placement.morphology import BoolArray, grow, reduced
from seas_runtime.placement.regions import Region, resize_pixels

CELL = 8
"""Pixels of the base's pictures that a cell of its latents stands for: so wide a placement's edge is soft."""
WORKED_AT = 512
"""Pixels a side at most with which the feather is made."""

FloatArray = npt.NDArray[np.float32]


def paste(
    pixels: Pixels,
    region: Region,
    drawn: npt.NDArray[np.uint8],
    mask: BoolArray,
    values: Values,
    opaque: bool | None = None,
    rebuilt: npt.NDArray[np.uint8] | None = None,
) -> tuple[Pixels, FloatArray]:
    """Return a photograph [H, W(, C)] with what was drawn in its `region`, and the feather [side, side].

    With `rebuilt` [S, S, 3], what the base makes of the window itself, only what was changed is pasted: the
    difference of the two is added to the photograph, which so keeps its grain and brightness.

    `mask` [S, S] is the region's as the base sees it, where the drawn is taken whole; `drawn` and `rebuilt`
    are squares of any size. `values` and `opaque` tell its values, see `Values.from_rgb8`. The feather is the
    share of the drawn, 0 to 1; where it is 0 the photograph's values stay, and alpha stays everywhere.
    """
    height, width = pixels.shape[:2]
    top, left, bottom, right = region.inside((height, width))
    cell = CELL * region.side / mask.shape[0]
    weights = feather(mask, region.side, cell) * _ramp(region, (height, width), cell)
    made = pixels.copy()
    here = region.on((height, width))
    photograph = pixels[here]
    window = resize_pixels(drawn, region.side)[top:bottom, left:right]
    share = weights[top:bottom, left:right]
    ours = values.from_rgb8(window, photograph, opaque).astype(np.float32)
    if ours.ndim == 3:
        share = share[..., None]
    own = photograph.astype(np.float32)
    if rebuilt is not None:
        there = resize_pixels(rebuilt, region.side)[top:bottom, left:right]
        own = values.from_rgb8(there, photograph, opaque).astype(np.float32)
    most = 255 if pixels.dtype == np.uint8 else 2**values.bit_depth - 1
    mixed = np.rint(np.clip(photograph + share * (ours - own), 0, most)).astype(pixels.dtype)
    made[here] = np.where(share > 0, mixed, photograph)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        made[here][..., -1] = photograph[..., -1]
    return made, weights


def feather(mask: BoolArray, side: int, width: float) -> FloatArray:
    """Return weights [side, side], 1 on a square mask of any size and 0 farther from it than twice `width`
    (pixels of the weights): the mask grown by `width` and blurred over as much."""
    size = min(side, WORKED_AT)
    small = _covered(mask, size)
    radius = max(1, round(width * size / side))
    grown = Image.fromarray(grow(small, radius).astype(np.uint8) * 255)
    blur = ImageFilter.BoxBlur(radius / 2)
    soft = np.maximum(np.asarray(grown.filter(blur).filter(blur)), small.astype(np.uint8) * 255)
    if size != side:
        soft = np.asarray(Image.fromarray(soft).resize((side, side), Image.Resampling.BILINEAR))
    return np.asarray(soft.astype(np.float32) / 255)


def _covered(mask: BoolArray, size: int) -> BoolArray:
    """Return a square mask at another size: every pixel of which it covers anything."""
    factor = -(-mask.shape[0] // size)
    cells = reduced(mask, factor)
    places = np.arange(size) * mask.shape[0] // size // factor
    ends = np.minimum((np.arange(1, size + 1) * mask.shape[0] - 1) // size // factor, len(cells) - 1)
    rows = cells[places] | cells[ends]
    return np.asarray(rows[:, places] | rows[:, ends])


def _ramp(region: Region, size: tuple[int, int], width: float) -> FloatArray:
    """Return weights [side, side] that fall to 0 at those edges of a window behind which the photograph goes
    on, so that no edge shows there."""
    places = np.arange(region.side)
    weights = []
    for start, length in ((region.top, size[0]), (region.left, size[1])):
        low = places if start > 0 else np.full(region.side, np.inf)
        high = region.side - 1 - places if start + region.side < length else np.full(region.side, np.inf)
        weights.append(np.minimum(1, np.minimum(low, high) / max(width, 1)))
    return np.asarray(np.outer(*weights), np.float32)
