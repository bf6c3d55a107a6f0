"""The parts of a mask: what lies together is shown together, what lies far apart has regions of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_runtime.placement.morphology import Box, box_of, connected_parts, reduced

NEAR = 24
"""Pixels between boxes that are one part: half of the smallest region by default."""
_GRID = 128  # cells along the longer side of what is marked, at which its pieces are told apart
_MOST = 64  # pieces: of a mask of more specks those are joined that lie in cells of twice the side


@dataclass(frozen=True)
class Part:
    """The box of a part, in pixels of the photograph; `right` and `bottom` lie beyond it."""

    left: int
    top: int
    right: int
    bottom: int
    pixels: int
    """That are marked."""

    @property
    def box(self) -> Box:
        """Top, left, bottom and right."""
        return self.top, self.left, self.bottom, self.right

    @property
    def longest(self) -> int:
        """The box's longer side."""
        return max(self.right - self.left, self.bottom - self.top)

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box: x, y."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def gap(self, other: Part) -> int:
        """Pixels between two boxes, along the axis where they are further apart; 0 where they touch."""
        across = max(self.left, other.left) - min(self.right, other.right)
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        return max(across, down, 0)

    def joined(self, other: Part) -> Part:
        """The box around both."""
        return Part(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.pixels + other.pixels,
        )


def parts_of(mask: NDArray[np.bool_]) -> tuple[Part, ...]:
    """Return the parts of a mask [H, W], from the top left on; none where nothing is marked.

    Pieces are one part where the gap between their boxes is `NEAR` pixels at most, or half of the longer
    side of the larger one.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return ()
    top, left = int(rows[0]), int(columns[0])
    marked = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    step = -(-max(marked.shape) // _GRID)
    labels, count = connected_parts(reduced(marked, step))
    while count > _MOST:
        step *= 2
        labels, count = connected_parts(reduced(marked, step))
    pieces = [_piece(marked, labels == number, step, top, left) for number in range(1, count + 1)]
    return tuple(sorted(_merged(pieces), key=lambda part: part.box))


def _piece(marked: NDArray[np.bool_], cells: NDArray[np.bool_], step: int, top: int, left: int) -> Part:
    """The part of what is marked in some cells of step x step pixels; `marked` lies at `top` and `left`."""
    first, start, last, end = (step * edge for edge in box_of(cells))
    window = marked[first:last, start:end]
    inside = cells[first // step : last // step, start // step : end // step]
    if step > 1:
        inside = inside.repeat(step, axis=0).repeat(step, axis=1)[: window.shape[0], : window.shape[1]]
    window = window & inside
    up, across, down, beyond = box_of(window)
    return Part(
        left + start + across, top + first + up, left + start + beyond, top + first + down, int(window.sum())
    )


def _merged(parts: list[Part]) -> list[Part]:
    """Join parts that are near each other, until none are."""
    joined = True
    while joined:
        joined = False
        kept: list[Part] = []
        for part in parts:
            for index, other in enumerate(kept):
                if part.gap(other) <= max(NEAR, max(part.longest, other.longest) // 2):
                    kept[index] = other.joined(part)
                    joined = True
                    break
            else:
                kept.append(part)
        parts = kept
    return parts
