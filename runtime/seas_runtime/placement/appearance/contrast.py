"""Lays the contrast of a real defect into a window: what a defect is drawn from.

At high noise a small model sees nothing that tells it that the defect belongs just here, and goes on with the
surroundings. Started from a window that is darker there, as a real defect was, it draws the defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from seas_runtime.placement.appearance.grain import INSIDE, MOST_ROUGH, grain_of, inside
from seas_runtime.placement.appearance.looks import exposed, measure_look
from seas_runtime.placement.morphology import BoolArray, box_of, grow, reduced

NEAREST = 3
"""One of so many real defects is drawn from: that third whose surroundings are most like the window's."""
_NEAR, _FAR = 1 / 16, 1 / 4
"""Surroundings lie so far from a mask, in longer sides of its box; at least 2 and 6 pixels."""
_WORKED_AT = 128

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Contrast:
    """Colours of a real defect and of what surrounded it: means of 8-bit RGB, float32 [3], 0 to 255."""

    inside: FloatArray
    around: FloatArray
    look: UInt8Array | None = None
    """The packed look, see `looks.measure_look`; None in bundles of before there was any."""
    own: bool = False
    """Whether the look is the defect's own colours, not differences from the surface below."""
    roughness: float = 0.0
    """Its grain by that of what surrounded it, see `grain_around`; 0 where it is not known."""


def measure_contrast(
    pixels: UInt8Array, mask: BoolArray, marked: BoolArray | None = None, on_part: bool = False
) -> Contrast:
    """Return the contrast of what `mask` [H, W] holds of a photograph [H, W, 3]; the mask is not empty.

    `marked` [H, W] are further defects, which are no surroundings. A defect with no surroundings on the
    photograph has those of all of it. `on_part`: the photograph shows a part before a background.
    """
    around = _surroundings(pixels, mask, mask if marked is None else mask | marked)
    look, own = measure_look(pixels, mask, marked, on_part)
    top, left, bottom, right = box_of(mask)
    near = slice(max(0, top - INSIDE), bottom + INSIDE), slice(max(0, left - INSIDE), right + INSIDE)
    beside = grain_around(pixels, mask, marked)
    roughness = min(MOST_ROUGH, grain_of(pixels[near], inside(mask[near])) / beside) if beside > 0 else 0.0
    return Contrast(pixels[mask].mean(0, dtype=np.float32), around, look, own, roughness)


def with_contrast(
    window: UInt8Array, mask: BoolArray, contrasts: Sequence[Contrast], choice: float
) -> UInt8Array:
    """Return a window [S, S, 3] in whose `mask` [S, S] the contrast of one of several real defects lies.

    `choice`, from 0 to below 1, is which of those whose surroundings are most like the window's. Raises
    ValueError where there is no contrast.
    """
    if not contrasts:
        raise ValueError("expected the contrast of at least one real defect, found none")
    here = _surroundings(window, mask, mask)
    distances = [float(np.abs(contrast.around - here).mean()) for contrast in contrasts]
    order = np.argsort(distances, kind="stable")[: -(-len(contrasts) // NEAREST)]
    chosen = contrasts[int(order[int(choice * len(order))])]
    stands_out = exposed(chosen.inside - chosen.around, here, float(chosen.around.mean()))
    edges = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(1))
    share = np.asarray(edges, np.float32)[..., None] / 255
    laid = window + share * stands_out
    return np.clip(np.rint(laid), 0, 255).astype(np.uint8)


def grain_around(pixels: UInt8Array, mask: BoolArray, marked: BoolArray | None = None) -> float:
    """Return the grain, see `grain.grain_of`, of what surrounds a mask [H, W] of a photograph [H, W, 3] and
    is not `marked`; 0 where nothing does."""
    if not mask.any():
        return 0.0
    rows, columns, factor, ring = _ring(mask, mask if marked is None else mask | marked)
    where = np.zeros(pixels[rows, columns].shape[:2], bool)
    where[::factor, ::factor] = ring
    return grain_of(pixels[rows, columns], where)


def _surroundings(pixels: UInt8Array, mask: BoolArray, marked: BoolArray) -> FloatArray:
    """Return the mean colour [3] around a mask, of what is not marked."""
    rows, columns, factor, ring = _ring(mask, marked)
    seen = pixels[rows, columns][::factor, ::factor]
    chosen = seen[ring] if ring.any() else pixels[~marked] if not marked.all() else pixels[mask]
    return np.asarray(chosen.mean(0), np.float32)


def _ring(mask: BoolArray, marked: BoolArray) -> tuple[slice, slice, int, BoolArray]:
    """Return what surrounds a mask [H, W] and is not marked: the rows and columns of a cut, and of each
    so-many-th pixel of that whether it does."""
    top, left, bottom, right = box_of(mask)
    longest = max(bottom - top, right - left)
    near, far = max(2, round(_NEAR * longest)), max(6, round(_FAR * longest))
    rows = slice(max(0, top - far), bottom + far)
    columns = slice(max(0, left - far), right + far)
    factor = -(-(longest + 2 * far) // _WORKED_AT)
    own, others = reduced(mask[rows, columns], factor), reduced(marked[rows, columns], factor)
    return rows, columns, factor, grow(own, -(-far // factor)) & ~grow(own, -(-near // factor)) & ~others
