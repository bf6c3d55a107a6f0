"""Connected parts, holes, growth and boxes of masks, in numpy alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError

BoolArray = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""Top, left, bottom and right (exclusive)."""


def box_of(mask: BoolArray) -> Box:
    """Return the box of what is True in `mask` [h, w], which is something."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def cut_to_box(mask: BoolArray) -> BoolArray:
    """Return the part of `mask` [h, w] that its box holds; UserError for a mask without a defect."""
    if not mask.any():
        raise UserError("mask: expected a defect, found none: every pixel is background")
    top, left, bottom, right = box_of(mask)
    return mask[top:bottom, left:right]


def grow(mask: BoolArray, radius: int) -> BoolArray:
    """Return `mask` [h, w] grown by a disc of `radius` pixels."""
    if radius <= 0:
        return mask
    height, width = mask.shape
    made = np.zeros((height + 2 * radius, width), bool)
    for down in range(radius + 1):
        rows = _widened(mask, int(np.sqrt(radius**2 - down**2)))
        for start in {radius - down, radius + down}:
            made[start : start + height] |= rows
    return made[radius : radius + height]


def reduced(mask: BoolArray, factor: int) -> BoolArray:
    """Return the cells [ceil(h / factor), ceil(w / factor)] of `mask` [h, w] in which anything is True."""
    if factor == 1:
        return mask
    down, across = (-size % factor for size in mask.shape)
    padded = np.pad(mask, ((0, down), (0, across)))
    height, width = padded.shape
    return np.asarray(padded.reshape(height // factor, factor, width // factor, factor).any(axis=(1, 3)))


def connected_parts(mask: BoolArray, diagonal: bool = True) -> tuple[npt.NDArray[np.int32], int]:
    """Return the number of each pixel's connected part, from 1, and 0 outside of `mask` [h, w]; and how many.

    Parts are numbered from the top. With `diagonal` pixels that share a corner are connected.
    """
    labels = np.zeros(mask.shape, np.int32)
    runs = _runs(mask)
    parents = list(range(len(runs)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    reach = 1 if diagonal else 0
    above = 0  # the first run of the row above that may touch the next one
    for index, (row, start, end) in enumerate(runs):
        while above < index and (
            runs[above][0] < row - 1 or (runs[above][0] == row - 1 and runs[above][2] + reach <= start)
        ):
            above += 1
        other = above
        while other < index and runs[other][0] == row - 1 and runs[other][1] < end + reach:
            parents[root(index)] = root(other)
            other += 1
    numbers: dict[int, int] = {}
    for index, (row, start, end) in enumerate(runs):
        labels[row, start:end] = numbers.setdefault(root(index), len(numbers) + 1)
    return labels, len(numbers)


def largest_part(mask: BoolArray) -> BoolArray:
    """Return the connected part of `mask` [h, w] that has most pixels; nothing of an empty one."""
    labels, count = connected_parts(mask)
    if count < 2:
        return mask
    found: BoolArray = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return found


def without_specks(mask: BoolArray, smallest: int) -> BoolArray:
    """Return `mask` [h, w] without connected parts of fewer pixels than `smallest`."""
    if smallest <= 1 or not mask.any():
        return mask
    labels, count = connected_parts(mask)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= smallest
    kept: BoolArray = mask & large[labels]
    return kept


def fill_holes(mask: BoolArray) -> BoolArray:
    """Return `mask` [h, w] with what it encloses."""
    labels, _ = connected_parts(np.pad(~mask, 1, constant_values=True), diagonal=False)
    filled: BoolArray = (labels != labels[0, 0])[1:-1, 1:-1]
    return filled


def _widened(mask: BoolArray, radius: int) -> BoolArray:
    """Return `mask` [h, w] grown along its rows by `radius` pixels on either side."""
    if not radius:
        return mask
    counts = np.cumsum(np.pad(mask, ((0, 0), (radius + 1, radius))), axis=1, dtype=np.int32)
    found: BoolArray = counts[:, 2 * radius + 1 :] > counts[:, : -2 * radius - 1]
    return found


def _runs(mask: BoolArray) -> list[tuple[int, int, int]]:
    """Return row, start and end (exclusive) of every run of True along rows, in reading order."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
