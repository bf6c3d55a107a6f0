"""Reads legal and forbidden areas, and masks of a person's own: mask pictures, or LabelMe's polygons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.photographs.reading import read_photograph
from seas_runtime.photographs.values import split_alpha
from seas_runtime.placement.morphology import BoolArray
from seas_runtime.placement.where.labelme import read_labelme

JSON = ".json"


@dataclass(frozen=True, eq=False)
class Area:
    """An area on photographs of one size: `mask` [H, W], not empty, and the file that it came from."""

    mask: BoolArray
    path: Path
    option: str

    def require(self, size: tuple[int, int]) -> None:
        """Refuse, by a UserError, a photograph of another (height, width)."""
        if self.mask.shape != size:
            found, expected = (f"{width} x {height}" for height, width in (self.mask.shape, size))
            raise UserError(
                f"{self.option} {self.path}: expected the size of the photographs, {expected} pixels, found "
                f"{found}; draw it on one of them"
            )


def read_area(path: Path, option: str) -> Area:
    """Read an area from a picture, or from LabelMe's JSON; UserError where there is none in it."""
    mask = read_labelme(path) if path.suffix.lower() == JSON else read_mask(path)
    if not mask.any():
        raise UserError(f"{option} {path}: expected an area, found none: every pixel is outside of it")
    return Area(mask, path, option)


def read_mask(path: Path) -> BoolArray:
    """Return where a picture is bright, above half of its brightest value: masks of 0 and 255, or of 0 and 1.

    UserError where it cannot be read.
    """
    colour, _ = split_alpha(read_photograph(path).pixels)
    grey = colour if colour.ndim == 2 else colour.max(axis=2)
    most = int(grey.max())
    bright: BoolArray = grey > most // 2
    return bright if most else np.zeros(grey.shape, bool)
