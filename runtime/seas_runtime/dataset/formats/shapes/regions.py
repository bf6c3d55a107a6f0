"""The connected regions of a mask, each one a defect of its own to the tools that read labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledRegion:
    """One connected region, cut to its box."""

    mask: BoolArray  # [height, width], True on the defect
    left: int
    top: int

    @property
    def width(self) -> int:
        """Of the box, in pixels."""
        return int(self.mask.shape[1])

    @property
    def height(self) -> int:
        """Of the box, in pixels."""
        return int(self.mask.shape[0])

    @property
    def area(self) -> int:
        """Pixels of the defect."""
        return int(self.mask.sum())

    @property
    def is_box(self) -> bool:
        """Whether the region fills its box."""
        return bool(self.mask.all())

    def on_picture(self, height: int, width: int) -> BoolArray:
        """Return the region's mask on its whole picture: bool [height, width]."""
        whole = np.zeros((height, width), dtype=np.bool_)
        whole[self.top : self.top + self.height, self.left : self.left + self.width] = self.mask
        return whole


def find_regions(mask: BoolArray) -> list[LabelledRegion]:
    """Return the regions of a mask [H, W] whose pixels touch by an edge or a corner, topmost first.

    Own code, for scipy and OpenCV are not among what the runtime needs: runs along the rows, joined to those
    they touch in the row above.
    """
    width = mask.shape[1]
    padded = np.pad(mask.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(padded, axis=1)  # [H, W + 1]: 1 where a run starts, -1 behind its end
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    above = (rows - 1) * (width + 2)
    first = np.searchsorted(rows * (width + 2) + ends, above + starts, "left")
    last = np.searchsorted(rows * (width + 2) + starts, above + ends, "right")
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    for run, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for other in range(low, high):
            one, two = root(run), root(other)
            parents[max(one, two)] = min(one, two)
    members: dict[int, list[int]] = {}
    for run in range(len(rows)):
        members.setdefault(root(run), []).append(run)
    return [_cut(rows[runs], starts[runs], ends[runs]) for runs in members.values()]


def _cut(
    rows: npt.NDArray[np.intp], starts: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]
) -> LabelledRegion:
    left, top = int(starts.min()), int(rows.min())
    steps = np.zeros((int(rows.max()) - top + 1, int(ends.max()) - left + 1), dtype=np.int8)
    np.add.at(steps, (rows - top, starts - left), 1)
    np.add.at(steps, (rows - top, ends - left), -1)
    return LabelledRegion(np.cumsum(steps, axis=1, dtype=np.int8)[:, :-1] > 0, left, top)
