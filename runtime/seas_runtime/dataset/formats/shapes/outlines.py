"""Polygons around the pixels of a region, such that drawing them gives the same pixels again.

Tools do not agree on what belongs to a polygon: pycocotools and CVAT take the pixels whose middle is inside,
LabelMe (Pillow) and ultralytics (OpenCV) cut coordinates to whole pixels and take the edge with it. A ring
that runs a quarter of a pixel inside of the region's border is drawn alike by all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seas_runtime.dataset.formats.shapes.regions import LabelledRegion

INSET = 0.25  # pixels
_CHUNK = 1024  # points whose distances are taken at a time

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ring:
    """A closed line of corners [n, 2] (x, y) in pixels of the picture; a hole's encloses background."""

    points: Points
    hole: bool


def trace_rings(region: LabelledRegion) -> list[Ring]:
    """Return the rings of a region: one for each part that hangs together by edges, and one for each hole."""
    padded = np.pad(region.mask, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]  # around each corner
    single = np.argwhere(a ^ b ^ c ^ d)  # [n, 2]: y, x
    falling, rising = np.argwhere(a & d & ~b & ~c), np.argwhere(b & c & ~a & ~d)
    places = np.concatenate([single, falling, falling, rising, rising])
    y, x = places[:, 0], places[:, 1]
    inside = _inward(a, b, c, d, single)
    # Where two pixels touch by a corner there are two corners, each inside of its own pixel.
    shifts = np.concatenate(
        [
            inside,
            *(
                np.tile(v, (len(o), 1))
                for v, o in zip(_TOUCHING, (falling,) * 2 + (rising,) * 2, strict=True)
            ),
        ]
    )
    across = _partners(np.lexsort((shifts[:, 0], x, y)))
    down = _partners(np.lexsort((shifts[:, 1], y, x)))
    points = np.stack([x + INSET * shifts[:, 0], y + INSET * shifts[:, 1]], axis=1)
    points += (region.left, region.top)
    rings, seen = [], bytearray(len(points))
    for start in np.lexsort((x, y)).tolist():
        if seen[start]:
            continue
        ring, here = [], start
        while not seen[here]:
            other = across[here]
            seen[here] = seen[other] = True
            ring += [here, other]
            here = down[other]
        # The line from a ring's first corner is its uppermost: the defect lies below it, or above a hole.
        rings.append(Ring(points[ring], bool(shifts[start, 1] < 0)))
    return rings


_TOUCHING = ((-1, -1), (1, 1), (1, -1), (-1, 1))
"""Where the defect lies, in x and y, from corners of which the pixels above left and below right, or above
right and below left, are defect."""


def _inward(*around_and_places: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Return where the defect lies from the two lines that meet in each corner: [n, 2] of -1 and 1."""
    a, b, c, d, places = around_and_places
    y, x = places[:, 0], places[:, 1]
    a, b, c, d = a[y, x], b[y, x], c[y, x], d[y, x]
    left = np.where(a != b, a, c)  # of the line that goes up, else of that which goes down
    up = np.where(a != c, a, b)
    return np.stack([np.where(left, -1, 1), np.where(up, -1, 1)], axis=1)


def _partners(order: npt.NDArray[np.intp]) -> list[int]:
    """Return for each corner the one at the other end of its line: the next of its row or column."""
    partners = np.empty_like(order)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    found: list[int] = partners.tolist()
    return found


def join_rings(rings: Sequence[Ring]) -> Points:
    """Return one polygon [n, 2] of several rings, joined by lines there and back where they are nearest.

    What is between the two ways has no area, so that an even-odd fill gives the rings' own pixels.
    """
    joined = rings[0].points
    waiting = {number: _nearest(joined, ring.points) for number, ring in enumerate(rings) if number}
    while waiting:
        number = min(waiting, key=lambda key: waiting[key][0])
        _, here, there = waiting.pop(number)
        ring, at = rings[number].points, int(np.flatnonzero((joined == here).all(axis=1))[0])
        place = int(np.flatnonzero((ring == there).all(axis=1))[0])
        turned = np.roll(ring, -place, axis=0)
        joined = np.concatenate([joined[: at + 1], turned, turned[:1], joined[at:]])
        for other, known in waiting.items():
            waiting[other] = min(known, _nearest(ring, rings[other].points), key=lambda one: one[0])
    return joined


def _nearest(one: Points, other: Points) -> tuple[float, Points, Points]:
    """Return the distance, squared, of the two nearest points of two rings, and the two points."""
    best = (np.inf, one[0], other[0])
    for start in range(0, len(one), _CHUNK):
        part = one[start : start + _CHUNK]
        distances = ((part[:, None] - other[None]) ** 2).sum(axis=-1)
        first, second = np.unravel_index(distances.argmin(), distances.shape)
        if distances[first, second] < best[0]:
            best = (float(distances[first, second]), part[first], other[second])
    return best
