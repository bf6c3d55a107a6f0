"""One photograph, and what may lie where on it: the part, legal and forbidden areas, at a small size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seas_runtime.placement.morphology import BoolArray, reduced
from seas_runtime.placement.where.areas import Area
from seas_runtime.placement.where.foreground import Part

GRID = 1024
"""Cells of the longer side, at most, in which places are tried: 20 megapixels cost no more."""
ON_PART = 0.75
"""The least share of a mask on the part, of the share that its training mask had there."""
ILLEGAL, FORBIDDEN, OFF = (
    "lay outside of the legal area",
    "lay in the forbidden area",
    "lay off the part",
)
Place = tuple[int, int]
"""Top and left in pixels."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A photograph of (height, width) `size`; areas are in cells of `factor` pixels a side."""

    size: tuple[int, int]
    factor: int
    part: Part
    part_cells: BoolArray
    legal: BoolArray | None
    """Cells that are legal as a whole; None where every one is."""
    forbidden: BoolArray | None
    """Cells that are forbidden anywhere."""

    @classmethod
    def of(cls, size: tuple[int, int], part: Part, legal: Sequence[Area], forbidden: Area | None) -> Scene:
        """Return a photograph's; UserError for an area of another size."""
        for area in (*legal, *((forbidden,) if forbidden else ())):
            area.require(size)
        factor = -(-max(size) // GRID)
        cells = -(-size[0] // factor), -(-size[1] // factor)
        wholly = [~reduced(~area.mask, factor) for area in legal]
        return cls(
            size,
            factor,
            part,
            part.on(cells),
            np.logical_and.reduce(wholly) if wholly else None,
            reduced(forbidden.mask, factor) if forbidden else None,
        )

    def objection(self, mask: BoolArray, place: Place, inside: float) -> str | None:
        """Return why a mask [h, w] may not lie at `place`; None where it may.

        `inside` is the share of such a defect that lies on the part.
        """
        off = tuple(start % self.factor for start in place)
        cells = reduced(np.pad(mask, ((off[0], 0), (off[1], 0))) if any(off) else mask, self.factor)
        top, left = (start // self.factor for start in place)
        window = np.s_[top : top + cells.shape[0], left : left + cells.shape[1]]
        if self.legal is not None and not self.legal[window][cells].all():
            return ILLEGAL
        if self.forbidden is not None and self.forbidden[window][cells].any():
            return FORBIDDEN
        if self.part_cells[window][cells].mean() < ON_PART * inside:
            return OFF
        return None

    def point_in(self, random: np.random.Generator, cells: BoolArray) -> tuple[float, float]:
        """Draw a point, down and across in pixels, in the cells that are True; in any where none is."""
        places = np.flatnonzero(cells) if cells.any() else np.arange(cells.size)
        row, column = divmod(int(places[int(random.integers(len(places)))]), cells.shape[1])
        return (row + random.random()) * self.factor, (column + random.random()) * self.factor
