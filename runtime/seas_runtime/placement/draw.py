"""Draws placements: a mask, and a place for it on a photograph where such a defect may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.placement.appearance.looks import misfit
from seas_runtime.placement.masks.sources import DrawnMask, Shapes, open_source
from seas_runtime.placement.options import ANYWHERE, AUTO, FOREGROUND, GIVEN, GRABCUT, WHERE, PlacementOptions
from seas_runtime.placement.regions import Placed
from seas_runtime.placement.where.areas import Area, read_area
from seas_runtime.placement.where.foreground import WHOLE, Part, find_part
from seas_runtime.placement.where.grabcut import refine_part
from seas_runtime.placement.where.scene import FORBIDDEN, ILLEGAL, OFF, Place, Scene

TRIES = 200
TRIES_OF_A_MASK = 10
"""Places that are tried for a mask before another one is drawn."""
COMPARED = 24
"""Of so many placements of a defect in its own colours that one is taken whose surroundings are most like the
real defect's: it fits the part's edges."""
JITTER = 0.08
"""How far from a training defect's spot, over the part's box, another one may lie."""
WHOLLY = 0.98
"""From this share on a training defect lay on the part, and what sticks out of it is cut off."""
NEAR = 4
"""Several masks in a picture lie within so many times the longest one: one window sees them all."""
LARGER, FAR = "were larger than the photograph", "lay too far from the first to be seen in one window"
_WAY_OUT = {
    LARGER: "Give larger photographs, or smaller masks (--placement-source boxes --box-sizes)",
    ILLEGAL: "Make the legal area larger, or give smaller masks",
    FORBIDDEN: "Make the forbidden area smaller, or give smaller masks",
    OFF: "Give --where anywhere, or an area",
    FAR: "Ask for fewer with --per-picture",
}

UInt8Array = npt.NDArray[np.uint8]
Reasons = Counter[str]


class Placer:
    """Draws placements on a product's photographs.

    shapes: of each defect, from the bundle. background: whether the photographs show a part on a background,
    see `foreground.shows_background`. Raises UserError for a file of the options that cannot be used.
    """

    def __init__(self, shapes: Shapes, options: PlacementOptions, background: bool) -> None:
        self.options = options
        # Before a background a spot is one on the part, and no border cuts a part's defect off.
        self._source = open_source(shapes, options, options.where == AUTO and not background)
        self._background = background
        self._on_part = options.where in (AUTO, FOREGROUND, GRABCUT)
        self._aimed_at = None if options.where in WHERE else _area(options.where, "--where")
        self._legal = [area for area in (self._aimed_at, _area(options.legal, "--legal")) if area]
        self._forbidden = _area(options.forbidden, "--forbidden")

    def draw(self, random: np.random.Generator, defect: str, photograph: UInt8Array) -> Placed:
        """Draw where and in what shape a defect is to be, on a photograph [H, W, 3].

        Everything follows from `random`, the photograph and the options. Raises UserError that says why no
        place was found, or no mask.
        """
        part = self.part(photograph) if self._on_part else WHOLE
        height, width = photograph.shape[:2]
        scene = Scene.of((height, width), part, self._legal, self._forbidden)
        fewest, most = self.options.per_picture
        wanted = int(random.integers(fewest, most + 1))
        placed: list[Placed] = []
        while len(placed) < wanted:
            reasons: Reasons = Counter()
            fits = self._fits(random, defect, scene, placed, reasons)
            found = next(fits, None)
            if found is None and len(placed) < fewest:
                raise UserError(_refusal(defect, scene, reasons))
            if found is None:
                break
            if self.options.where == AUTO and not placed and found.look is not None and found.look.own.any():
                compared = [found, *islice(fits, COMPARED - 1)]
                found = min(compared, key=lambda one: _misfit(photograph, one))
            placed.append(found)
        return _joined(placed)

    def part(self, photograph: UInt8Array) -> Part:
        """Return the part on a photograph [H, W, 3] as placements see it."""
        part = find_part(photograph, self._background)
        return refine_part(photograph, part) if self.options.where == GRABCUT else part

    def _fits(
        self,
        random: np.random.Generator,
        defect: str,
        scene: Scene,
        placed: Sequence[Placed],
        reasons: Reasons,
    ) -> Iterator[Placed]:
        """Try places for masks; yield those that fit, and count in `reasons` why others did not."""
        any_way = self.options.where == AUTO and self._background and scene.part.is_round(scene.size)
        drawn, left = None, 0
        for _ in range(TRIES):
            if drawn is None or not left:
                drawn, left = self._source.draw(random, defect, scene.size, any_way), TRIES_OF_A_MASK
            left -= 1
            if any(side > whole for side, whole in zip(drawn.mask.shape, scene.size, strict=True)):
                reasons[LARGER] += 1
                drawn = None
                continue
            place = self._choose_place(random, drawn, scene, placed)
            reason = scene.objection(drawn.mask, place, drawn.inside if self._on_part else 0)
            here = Placed(drawn.mask, place[1], place[0], drawn.look)
            if reason is None and placed and _too_far(here, placed):
                reason = FAR
            if reason is None:
                yield self._cut(here, drawn.inside, scene)
            else:
                reasons[reason] += 1
            if self.options.where == GIVEN:
                drawn = None

    def _choose_place(
        self, random: np.random.Generator, drawn: DrawnMask, scene: Scene, placed: Sequence[Placed]
    ) -> Place:
        """Draw where a mask begins, such that it lies in the photograph."""
        if self.options.where == GIVEN:
            return _own_place(drawn, scene)
        sides = drawn.mask.shape
        centre: tuple[float, ...]
        if placed:
            top, left, bottom, right = placed[0].box
            reach = NEAR / 2 * max(bottom - top, right - left, *sides)
            centre = tuple(
                middle + random.uniform(-reach, reach) for middle in ((top + bottom) / 2, (left + right) / 2)
            )
        elif self.options.where == AUTO and drawn.spot is not None:
            box = scene.part.box
            spots = [value + random.uniform(-JITTER, JITTER) for value in _spot(drawn, scene)]
            centre = tuple(
                (box[axis] + spot * (box[axis + 2] - box[axis])) * scene.size[axis]
                for axis, spot in enumerate(spots)
            )
        elif self.options.where == ANYWHERE:
            centre = tuple(
                side / 2 + random.uniform(0, whole - side)
                for side, whole in zip(sides, scene.size, strict=True)
            )
        else:
            aimed_at = scene.legal if self._aimed_at is not None else None
            centre = scene.point_in(random, scene.part_cells if aimed_at is None else aimed_at)
        starts = [
            min(max(round(middle - side / 2), 0), whole - side)
            for middle, side, whole in zip(centre, sides, scene.size, strict=True)
        ]
        height, width = sides
        return drawn.sides.pinned((starts[0], starts[1]), (height, width), scene.size)

    def _cut(self, placed: Placed, inside: float, scene: Scene) -> Placed:
        """Return a mask without what sticks out of a part that such defects lie on wholly."""
        if not self._on_part or inside < WHOLLY:
            return placed
        kept = placed.mask & scene.part.window(scene.size, placed.top, placed.left, *placed.mask.shape)
        return placed.cut(kept) if kept.any() else placed


def _spot(drawn: DrawnMask, scene: Scene) -> tuple[float, float]:
    """Return where on the part's box a mask goes, down and across: with a turn that takes the part to itself,
    such as any of a round one, its spot is turned too."""
    assert drawn.spot is not None
    if drawn.turned is None or not scene.part.keeps(scene.size, drawn.turned):
        return drawn.spot
    top, left, bottom, right = scene.part.box
    sides = np.array([(right - left) * scene.size[1], (bottom - top) * scene.size[0]])
    across, down = drawn.turned @ ((np.array(drawn.spot[::-1]) - 0.5) * sides) / sides + 0.5
    return float(down), float(across)


def _own_place(drawn: DrawnMask, scene: Scene) -> Place:
    if drawn.corner is None:
        height, width = scene.size
        raise UserError(
            f"--where given: expected masks of the photograph's size, {width} x {height} pixels, found "
            "another. Give masks of that size, or another --where"
        )
    return drawn.corner


def _too_far(here: Placed, placed: Sequence[Placed]) -> bool:
    longest = max(max(one.mask.shape) for one in (*placed, here))
    return bool(max(_joined([here, *placed]).mask.shape) > NEAR * longest)


def _misfit(photograph: UInt8Array, placed: Placed) -> float:
    assert placed.look is not None
    return misfit(photograph, placed.mask, placed.look, (placed.top, placed.left))


def _joined(placed: Sequence[Placed]) -> Placed:
    made = placed[0]
    for other in placed[1:]:
        made = made.joined(other)
    return made


def _area(path: str | None, option: str) -> Area | None:
    if path is None:
        return None
    if not Path(path).exists():
        words = (
            f"{', '.join(WHERE)}, or a file" if option == "--where" else "a mask picture or LabelMe's JSON"
        )
        raise UserError(f"{option} {path}: expected {words}, found nothing of that name")
    return read_area(Path(path), option)


def _refusal(defect: str, scene: Scene, reasons: Reasons) -> str:
    height, width = scene.size
    words = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    shown = f"of {defect!r} " if defect else ""
    return (
        f"placement: found no place for a mask {shown}on a photograph of {width} x {height} pixels: of "
        f"{TRIES} that were tried, {words}. {_WAY_OUT[reasons.most_common(1)[0][0]]}"
    )
