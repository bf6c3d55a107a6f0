"""Decides how a mask is to be read, once for each file, by its set of levels and where they lie.

The one question is what the levels between the lowest and the highest are: soft edges and JPEG's ringing,
which belong to neither side, or classes of their own, all of which are defect. An edge's pixel has a darker
and a brighter neighbour; a class has pixels that do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_train.data.images.preprocessing import Masks
from seas_train.data.masks.grey import GreyMask

FOREGROUND = 127  # a mask of black and white: what is brighter is defect
FEW = 32  # levels: more are soft edges, JPEG, or no mask at all
SEVERAL = 8  # levels: a photograph has more, also one of few colours
RESTLESS = 0.3  # of a mask's pixels at the least are like all their neighbours
NEAR = 40  # of 255: as far from black and white does JPEG go at its usual qualities
CLOSE = 64  # levels nearer than this are labels: nobody draws edges between them
FEWEST = 4  # pixels of a class
PEAKS = 6  # levels that hold most of a label map's areas after JPEG
EDGE = 0.5  # of a level's pixels lie between a darker and a brighter one: then it is an edge's


class MaskKind(str, Enum):
    """What a mask file was found to be; the value is said in the report."""

    EMPTY = "empty"
    UNIFORM = "one level everywhere"
    TWO_LEVELS = "two levels"
    SOFT = "black and white with soft edges"
    LABELS = "label ids"
    COLOURS = "class colours"
    NOT_A_MASK = "not a mask"


@dataclass(frozen=True)
class Reading:
    """How a mask is read: levels above `threshold` are defect."""

    kind: MaskKind
    threshold: int
    levels: tuple[int, ...]
    """The file's levels: all of them where they are few, else the lowest and the highest."""
    doubt: str = ""
    """What is not sure, as the report says it."""
    source: str = "levels"
    inverted: bool = False
    """Whether it is the other levels that are defect."""

    def foreground(self, values: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return where a mask's levels are defect."""
        return np.asarray((values > self.threshold) != self.inverted)

    def levels_text(self) -> str:
        """The levels for the report: `0 and 255`, `0, 75 and 200`, `0 to 255`."""
        if self.kind in (MaskKind.SOFT, MaskKind.NOT_A_MASK) or len(self.levels) > 8:
            return f"{self.levels[0]} to {self.levels[-1]}"
        words = [str(level) for level in self.levels]
        return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def decide(mask: GreyMask, wanted: Masks = Masks.AUTO) -> Reading:
    """Return how a mask is read: by what it holds, or as `wanted` says."""
    counts = np.array(Image.fromarray(mask.levels).histogram())  # a quarter of np.bincount's time
    found = replace(
        _by_levels(mask.levels, counts), source=mask.source if mask.background is None else "distance"
    )
    if mask.refused:
        found = replace(found, kind=MaskKind.NOT_A_MASK, doubt=mask.refused)
    elif found.kind is MaskKind.LABELS and mask.source in ("colours", "palette"):
        found = replace(found, kind=MaskKind.COLOURS, doubt="" if found.levels[0] == 0 else found.doubt)
    if wanted is Masks.INVERTED:
        clear = found.kind not in (MaskKind.EMPTY, MaskKind.UNIFORM, MaskKind.NOT_A_MASK)
        return replace(found, inverted=clear, doubt="" if clear else found.doubt)
    if wanted is not Masks.AUTO and found.kind is not MaskKind.EMPTY:
        threshold = 0 if wanted is Masks.LABELS else FOREGROUND
        kind = MaskKind.LABELS if wanted is Masks.LABELS else MaskKind.SOFT
        kind = found.kind if found.kind in (MaskKind.TWO_LEVELS, MaskKind.COLOURS) else kind
        return replace(found, kind=kind, threshold=threshold, doubt="")
    if mask.background is not None and found.kind is not MaskKind.NOT_A_MASK:
        red, green, blue = mask.background
        doubt = f"has no black: its commonest colour ({red}, {green}, {blue}) is taken as the background"
        return replace(found, doubt=doubt)
    return found


def _by_levels(values: NDArray[np.uint8], counts: NDArray[np.int64]) -> Reading:
    levels = tuple(int(level) for level in np.flatnonzero(counts))
    low, high = levels[0], levels[-1]
    if len(levels) == 1:
        if low == 0:
            return Reading(MaskKind.EMPTY, 0, levels)
        return Reading(MaskKind.TWO_LEVELS if low in (1, 255) else MaskKind.UNIFORM, 0, levels)
    if len(levels) == 2:
        doubt = f"has the levels {low} and {high} and no 0: the darker is taken as background" if low else ""
        return Reading(MaskKind.TWO_LEVELS, low, levels, doubt)
    if len(levels) > FEW:
        return _of_many(values, counts, levels)
    if len(levels) >= SEVERAL and _level_share(values) < RESTLESS:
        words = f"its {len(levels)} levels change from pixel to pixel, as a photograph's do"
        return Reading(MaskKind.NOT_A_MASK, _middle(low, high), levels, words)
    classes = _classes(values, counts, levels)
    if not classes and high - low >= CLOSE:
        return Reading(MaskKind.SOFT, _middle(low, high), levels)
    threshold = low if not classes or not _is_noisy(levels) else (low + classes[0]) // 2
    return Reading(MaskKind.LABELS, threshold, levels, _doubt_of_labels(levels))


def _doubt_of_labels(levels: tuple[int, ...]) -> str:
    """A question where reading a label map as black and white would lose part of it."""
    low, high = levels[0], levels[-1]
    if low > 0:
        return f"has the levels {low} to {high} and no 0: the darkest is taken as background"
    if high <= FOREGROUND:
        return ""
    shown = ", ".join(str(level) for level in levels[:8]) + (", ..." if len(levels) > 8 else "")
    return f"has the levels {shown}: each is taken as a class, all but 0 as defect"


def _classes(values: NDArray[np.uint8], counts: NDArray[np.int64], levels: tuple[int, ...]) -> list[int]:
    """The levels between the lowest and the highest that are classes of their own."""
    low, high = levels[0], levels[-1]
    span = NEAR if _is_noisy(levels) else 0
    inner = [v for v in levels[1:-1] if low + span < v < high - span and counts[v] >= FEWEST]
    if not inner:
        return []
    darker, brighter = _neighbours(values)
    edge = (darker < values) & (brighter > values)
    edges = np.bincount(values[edge].ravel(), minlength=256)
    return [level for level in inner if edges[level] < EDGE * counts[level]]


def _is_noisy(levels: tuple[int, ...]) -> bool:
    """Whether black and white are both blurred by a few levels, as JPEG leaves them."""
    low, high = levels[0], levels[-1]
    return high - low >= CLOSE and levels[1] <= low + 8 and levels[-2] >= high - 8


def _of_many(values: NDArray[np.uint8], counts: NDArray[np.int64], levels: tuple[int, ...]) -> Reading:
    """Read a mask of so many levels that none of them means something: by how much lies between."""
    low, high = levels[0], levels[-1]
    near = NEAR * (high - low) // 255
    between = int(counts[low + near + 1 : high - near].sum())
    marked = int(counts[low + near + 1 :].sum())
    half, share = 2 * between > marked, between / values.size
    darker, brighter = _neighbours(values)
    inside = (values > low + near) & (values < high - near)
    flat = values[inside & (brighter.astype(np.int16) - darker <= (high - low) // 16)]
    many = flat.size > max(16, marked // 20)
    peaks = np.bincount(flat, minlength=256)
    if many and np.sort(peaks)[-PEAKS:].sum() > 0.6 * flat.size and 2 * flat.size > between:
        level = int(np.flatnonzero(peaks >= peaks.max() // 4)[0])
        words = (
            f"seems a label map with loss: levels from about {level} on are taken as classes, and as defect"
        )
        return Reading(MaskKind.LABELS, (low + level) // 2, levels, words)
    if 2 * int((inside & (darker == brighter)).sum()) > between > 0:  # areas of one level each
        return Reading(MaskKind.LABELS, low, levels, _doubt_of_labels(levels))
    ground = 1 - marked / values.size
    if share > 0.1 and between > (0.5 if ground < 0.5 else 0.75) * marked:
        words = f"{100 * share:.0f} % of its pixels lie between black and white, at {len(levels)} levels"
        return Reading(MaskKind.NOT_A_MASK, _middle(low, high), levels, words)
    if many and (share > 0.1 or ground < 0.5):
        words = f"has no clean levels: {len(levels)}, in areas of every shade"
        return Reading(MaskKind.NOT_A_MASK, _middle(low, high), levels, words)
    if many:
        middle = _middle(low, high)
        words = f"is smooth rather than black and white: what is above {middle} is taken as defect"
        return Reading(MaskKind.SOFT, middle, levels, words)
    if half and share > 0.02:
        words = f"more of it is grey than white: what is above {_middle(low, high)} is taken as defect"
        return Reading(MaskKind.SOFT, _middle(low, high), levels, words)
    return Reading(MaskKind.SOFT, _middle(low, high), levels)


def _level_share(values: NDArray[np.uint8]) -> float:
    """The share of pixels that all their neighbours are like."""
    darker, brighter = _neighbours(values)
    return float((darker == brighter).mean())


def _middle(low: int, high: int) -> int:
    """The highest level that is still background."""
    return FOREGROUND if low <= NEAR and high >= 255 - NEAR else (low + high) // 2


def _neighbours(values: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The lowest and the highest level in the 3 x 3 pixels around each."""
    found = []
    for choose in (np.minimum, np.maximum):
        rows = np.pad(values, 1, mode="edge")
        rows = choose(choose(rows[:-2], rows[1:-1]), rows[2:])
        found.append(choose(choose(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]))
    return found[0], found[1]
