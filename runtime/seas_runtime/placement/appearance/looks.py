"""The look of a real defect: its pixels, or by how much each differs from the surface that it lies on.

Laid into a photograph where a placement is, it is what a small model draws from. Such a model keeps what is
dark and sharp there, and could not make it of noise. On an even surface differences go along with the light
and the tone of another photograph. Across a part's edges there is no such surface, and the defect's own
colours are the look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from seas_runtime.placement.appearance.grain import as_rough
from seas_runtime.placement.appearance.surface import (
    UNEVEN,
    is_wide,
    reach_around,
    smoothed,
    surface_under,
    tone_of,
    without_slope,
)
from seas_runtime.placement.morphology import BoolArray, Box, box_of, grow

LARGEST = 768
"""Pixels of a packed look's longer side: more than a base sees of a window, as the look is laid at the
photograph's own resolution. Made smaller, a wide defect would lose its grain."""
EDGE = 2
"""Pixels around a mask that its look has too: a mask's outline is a person's, and its edge is soft."""
MOST_GAIN = 2.5
"""Differences grow with the brightness of the surroundings, as with an exposure, but not beyond this."""
WHITE = 255
"""The brightest level: the room that what is brighter than its surroundings has ends there."""
_MARGIN = 0.1
"""Of the mask's longer side: how far around it a packed look reaches."""
_EDGES = 0.5
"""The share of the surroundings that departs by more from which on a defect lies across edges."""

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Look:
    """The look of a placement: of its box and `EDGE` pixels around it."""

    values: FloatArray
    """[h + 2 EDGE, w + 2 EDGE, 3] in levels of 8-bit RGB: differences from the surface below, or colours."""
    around: float
    """The mean level of what surrounded the real defect, 0 to 255."""
    own: BoolArray
    """[h + 2 EDGE, w + 2 EDGE]: where the values are the real defect's own colours."""
    roughness: float = 0.0
    """The real defect's grain by that of what surrounded it; 0 where it is not known."""
    stretched: bool = False
    """Whether it was scaled by much more one way than the other, so that its grain became streaks."""

    def cut(self, box: Box) -> Look:
        """Return the look of a part of the placement, by its box in it."""
        top, left, bottom, right = box
        part = slice(top, bottom + 2 * EDGE), slice(left, right + 2 * EDGE)
        return Look(self.values[part], self.around, self.own[part], self.roughness, self.stretched)


def joined_looks(looks: Sequence[Look], masks: Sequence[BoolArray], boxes: Sequence[Box]) -> Look:
    """Return the looks of several placements as one; these are their masks, and boxes on the photograph.

    Where masks overlap it is the last one's.
    """
    top, left = (min(box[axis] for box in boxes) for axis in (0, 1))
    bottom, right = (max(box[axis] for box in boxes) for axis in (2, 3))
    values = np.zeros((bottom - top + 2 * EDGE, right - left + 2 * EDGE, 3), np.float32)
    own = np.zeros(values.shape[:2], bool)
    for look, mask, box in zip(looks, masks, boxes, strict=True):
        seen = grow(np.pad(mask, EDGE), EDGE)
        part = tuple(
            slice(box[axis] - start, box[axis] - start + seen.shape[axis])
            for axis, start in enumerate((top, left))
        )
        values[part][seen] = look.values[seen]
        own[part][seen] = look.own[seen]
    around, roughness = np.mean([(look.around, look.roughness) for look in looks], axis=0).tolist()
    return Look(values, around, own, roughness, any(look.stretched for look in looks))


def margin(size: Sequence[int]) -> int:
    """Return how many pixels around a mask of (height, width) its packed look reaches."""
    return EDGE + math.ceil(_MARGIN * max(size))


def measure_look(
    pixels: UInt8Array, mask: BoolArray, marked: BoolArray | None = None, on_part: bool = False
) -> tuple[UInt8Array, bool]:
    """Return the packed look [h, w, 3] of what `mask` [H, W] holds of a photograph [H, W, 3], and whether
    these are its own colours, as they are `on_part` before a background and across edges.

    Otherwise they are 128 and half of the difference from the surface, which is filled in from what surrounds
    the mask; of a wide defect at the photograph's border without its slope, which is the light's. The look
    covers the mask's box and `margin` around it, and is scaled down where it is larger than `LARGEST`.
    `marked` [H, W] are further defects, which are no surface. The mask is not empty.
    """
    box = box_of(mask)
    longest = max(box[2] - box[0], box[3] - box[1])
    around = margin((box[2] - box[0], box[3] - box[1]))
    far = reach_around(longest)
    gap, reach = max(1, far // 4), around + far
    hidden = mask if marked is None else mask | marked
    window, unseen = _window(pixels, hidden, box, reach)
    unseen = grow(unseen, gap)
    inner = (slice(far, -far),) * 2
    own = on_part or _across_edges(window, unseen)
    if own:
        packed = window[inner]
    else:
        difference = window - surface_under(window, unseen)
        if is_wide(box, mask.shape):
            inside = np.pad(mask[box[0] : box[2], box[1] : box[3]], reach)
            evened = without_slope(window, inside, ~unseen, gap)
            difference = difference if evened is None else np.where(inside[..., None], evened, difference)
        difference = difference[inner]
        packed = np.clip(np.rint(128 + difference / 2), 0, 255).astype(np.uint8)
    scale = LARGEST / max(packed.shape[:2])
    if scale >= 1:
        return packed, own
    height, width = (max(1, round(side * scale)) for side in packed.shape[:2])
    return np.asarray(Image.fromarray(packed).resize((width, height), Image.Resampling.BOX)), own


def unpacked(packed: FloatArray, own: bool) -> FloatArray:
    """Return the values of a packed look [h, w, 3], or of samples of it."""
    return packed if own else (packed - 128) * 2


def lay_look(
    window: UInt8Array,
    mask: BoolArray,
    look: Look,
    place: tuple[int, int],
    *,
    wide: bool = False,
    grain: float = 0.0,
) -> UInt8Array:
    """Return a window [s, s, 3] with a defect's look on its own surface, where `mask` [s, s] is.

    `place` is where in the window the placement's box begins, down and across: its mask may lie partly
    outside. What lies under the mask is filled in from around it, or smoothed where the placement is a `wide`
    one, and the look's differences are added as that surface shows them (`exposed`); or it gives way to the
    look's colours. `grain` is that of what surrounds the placement, 0 where it is not known: a defect is as
    much rougher or smoother than that as the real one was than its own surroundings. Of a stretched look only
    the tone is laid, and the photograph's own grain below it is made as rough.
    """
    if not mask.any():
        return window
    values, own = np.zeros(window.shape, np.float32), np.zeros(window.shape[:2], bool)
    corner = place[0] - EDGE, place[1] - EDGE
    _put(values, look.values, corner)
    _put(own, look.own, corner)
    soft = Image.fromarray(grow(mask, 1).astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(1))
    share = np.asarray(soft, np.float32)[..., None] / 255
    if not own[share[..., 0] > 0].all():
        surface = smoothed(window, mask) if wide else surface_under(window, grow(mask, 1))
        if look.stretched and look.roughness > 0:
            light = surface if wide else smoothed(window, mask)
            tone = exposed(tone_of(values, mask), surface, look.around)
            laid = light + tone + np.float32(look.roughness) * (window - light)
        else:
            laid = as_rough(
                surface + exposed(values, surface, look.around), window, mask, look.roughness * grain
            )
        values = np.where(own[..., None], values, laid)
    laid = window + share * (values - window)
    return np.clip(np.rint(laid), 0, 255).astype(np.uint8)


def exposed(differences: FloatArray, surface: FloatArray, around: float) -> FloatArray:
    """Return differences [..., 3] from surroundings of a mean level as a surface [..., 3] shows them.

    They are in proportion to its brightness. What is brighter keeps at most its share of the way to white: a
    bright surface has little room above it, and there a real defect is seldom white.
    """
    level = surface.mean(-1, keepdims=True)
    gain = np.minimum(MOST_GAIN, np.maximum(1, level) / max(1.0, around))
    room = np.maximum(0, WHITE - level) / max(1.0, WHITE - around)
    shown: FloatArray = np.where(differences > 0, np.minimum(gain, room), gain) * differences
    return shown


def misfit(pixels: UInt8Array, mask: BoolArray, look: Look, place: tuple[int, int]) -> float:
    """Return by how many levels a photograph [H, W, 3] differs from what lay around the real defect.

    Along the outline of the placement, whose mask [h, w] begins at `place`, down and across: where the look
    is the defect's own colours, and 0 where it is not.
    """
    inside = np.pad(mask, EDGE)
    rows, columns = np.nonzero(grow(inside, EDGE) & ~inside & look.own)
    down, across = rows + place[0] - EDGE, columns + place[1] - EDGE
    seen = (down >= 0) & (down < pixels.shape[0]) & (across >= 0) & (across < pixels.shape[1])
    if not seen.any():
        return 0.0
    there = look.values[rows[seen], columns[seen]]
    return float(np.abs(pixels[down[seen], across[seen]] - there).mean())


def _window(pixels: UInt8Array, hidden: BoolArray, box: Box, reach: int) -> tuple[UInt8Array, BoolArray]:
    """Return a box of a photograph with `reach` around it, and what is hidden there or outside of it; there
    the photograph's border is repeated."""
    rows = np.arange(box[0] - reach, box[2] + reach)
    columns = np.arange(box[1] - reach, box[3] + reach)
    inside = np.ix_(np.clip(rows, 0, hidden.shape[0] - 1), np.clip(columns, 0, hidden.shape[1] - 1))
    outside = np.ones((len(rows), len(columns)), bool)
    outside[np.ix_((rows >= 0) & (rows < hidden.shape[0]), (columns >= 0) & (columns < hidden.shape[1]))] = (
        False
    )
    return pixels[inside], hidden[inside] | outside


def _across_edges(window: UInt8Array, unseen: BoolArray) -> bool:
    """Whether what is seen of a window [h, w, 3] is no even surface."""
    if unseen.all():
        return False
    seen = window[~unseen].astype(np.float32)
    departures = np.abs(seen - np.median(seen, axis=0)).mean(-1)
    return float((departures > UNEVEN).mean()) > _EDGES


def _put(made: npt.NDArray[Any], part: npt.NDArray[Any], place: tuple[int, int]) -> None:
    """Write `part` [h, w(, 3)] into `made` [H, W(, 3)] at (down, across), as far as it lies inside."""
    (down, across), (height, width) = place, part.shape[:2]
    top, left = max(0, down), max(0, across)
    bottom, right = min(made.shape[0], down + height), min(made.shape[1], across + width)
    if top < bottom and left < right:
        made[top:bottom, left:right] = part[top - down : bottom - down, left - across : right - across]
