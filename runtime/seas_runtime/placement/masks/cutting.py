"""Cuts the shapes of defects from training masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.placement.appearance.contrast import Contrast, measure_contrast
from seas_runtime.placement.masks.shapes import FARTHEST, LARGEST, Shape
from seas_runtime.placement.morphology import BoolArray, Box, box_of, connected_parts, reduced
from seas_runtime.placement.where.foreground import WHOLE, Part

GAP = 0.5
"""Connected parts of a mask are one defect where the gap between their boxes is at most so much of the longer
side of the larger one."""
SPECK = 0.02
"""Parts of a mask with less than this share of its largest one's pixels are strokes of the pen."""
MOST = 20
"""Shapes that are cut from one mask at most, the largest ones."""
SIDE = 512
"""Pixels of the longer side at which parts are told apart."""

UInt8Array = npt.NDArray[np.uint8]


def cut_shapes(mask: BoolArray, part: Part, photograph: UInt8Array | None = None) -> list[Shape]:
    """Return the shapes of a training mask [H, W], whose photograph shows this part; none of an empty one.

    With the photograph [H, W, 3] they have the defects' contrasts and looks.
    """
    factor = -(-max(mask.shape) // SIDE)
    labels, count = connected_parts(reduced(mask, factor))
    if not count:
        return []
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    kept = [number for number in range(1, count + 1) if areas[number - 1] >= SPECK * areas.max()]
    groups = [(sum(areas[number - 1] for number in group), group) for group in _near(labels, kept)]
    largest = sorted(groups, key=lambda one: -one[0])[:MOST]
    pixels = sum(own for own, _ in largest)
    rows, columns = (np.arange(size) // factor for size in mask.shape)
    made = []
    for own, group in largest:
        one = mask & np.isin(labels, group)[np.ix_(rows, columns)]
        contrast = None if photograph is None else measure_contrast(photograph, one, mask, part is not WHOLE)
        made.append(replace(_shape(one, part, contrast), share=float(own / pixels)))
    return made


def _near(labels: npt.NDArray[np.int32], numbers: list[int]) -> Iterator[list[int]]:
    """Yield the numbers of connected parts that belong together."""
    groups = [([number], box_of(labels == number)) for number in numbers]
    while groups:
        members, box = groups.pop()
        near = next((group for group in groups if _belong(box, group[1])), None)
        if near is None:
            yield members
            continue
        groups.remove(near)
        groups.append(([*members, *near[0]], _joined(box, near[1])))


def _belong(a: Box, b: Box) -> bool:
    gap = max(max(a[0], b[0]) - min(a[2], b[2]), max(a[1], b[1]) - min(a[3], b[3]))
    return gap <= GAP * max(_longest(a), _longest(b))


def _longest(box: Box) -> int:
    return max(box[2] - box[0], box[3] - box[1])


def _joined(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _shape(mask: BoolArray, part: Part, contrast: Contrast | None) -> Shape:
    size = mask.shape[0], mask.shape[1]
    top, left, bottom, right = box_of(mask)
    cut = mask[top:bottom, left:right]
    inside = float(part.window(size, top, left, *cut.shape)[cut].mean())
    box = part.box
    middle = (top + bottom) / 2 / size[0], (left + right) / 2 / size[1]
    spot = tuple(
        float(
            np.clip((middle[axis] - box[axis]) / (box[axis + 2] - box[axis]), 0.5 - FARTHEST, 0.5 + FARTHEST)
        )
        for axis in (0, 1)
    )
    return replace(_limited(cut, size, (spot[0], spot[1]), inside), contrast=contrast)


def _limited(mask: BoolArray, size: tuple[int, int], spot: tuple[float, float], inside: float) -> Shape:
    """Return a shape, scaled down with its photograph where it is larger than LARGEST."""
    scale = LARGEST / max(mask.shape)
    if scale >= 1:
        return Shape(mask, size, spot, inside)
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    covered = Image.fromarray(mask).convert("L").resize((width, height), Image.Resampling.BOX)
    small = np.asarray(covered) >= 128
    small = small if small.any() else np.asarray(covered) > 0
    top, left, bottom, right = box_of(small)
    whole = max(height, round(size[0] * scale)), max(width, round(size[1] * scale))
    return Shape(small[top:bottom, left:right], whole, spot, inside)
