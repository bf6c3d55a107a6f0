"""Run-length codes of masks: COCO's, compressed as its `maskApi.c` does, and CVAT's.

Both list the lengths of background and defect in turn, background first; COCO's go down the columns, CVAT's
along the rows of the region's box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]


def encode_runs(mask: BoolArray, *, by_column: bool = True) -> list[int]:
    """Return the lengths of the runs of a mask [H, W], column by column or row by row; they sum to H * W."""
    values = mask.ravel(order="F" if by_column else "C")
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [values.size]])).tolist()
    return [0, *counts] if values.size and values[0] else counts


def draw_runs(counts: Sequence[int], height: int, width: int, *, by_column: bool = True) -> BoolArray:
    """Return the mask [height, width] of its runs; ValueError where they do not sum to its pixels."""
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError(f"expected runs over {width} x {height} pixels, found {sum(counts)} pixels")
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(values.reshape((height, width), order="F" if by_column else "C"))


def compress_runs(counts: Sequence[int]) -> str:
    """Return COCO's text of runs: 5 bits a character, differences from the fourth on."""
    text = bytearray()
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text.append((bits | (0x20 if more else 0)) + 48)
    return text.decode("ascii")


def decode_runs(text: str) -> list[int]:
    """Return the lengths in COCO's compressed text; ValueError where it is none."""
    counts: list[int] = []
    characters = iter(text.encode("ascii"))
    for character in characters:
        value, shift = 0, 0
        while True:
            bits = character - 48
            value |= (bits & 0x1F) << shift
            shift += 5
            if not bits & 0x20:
                break
            following = next(characters, None)
            if following is None:
                raise ValueError("expected compressed runs, found a text that is cut short")
            character = following
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
