"""Draws masks: a real shape made anew, a rectangle, or a mask of a person's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import listed
from seas_runtime.photographs.reading import find_photographs
from seas_runtime.placement.appearance.looks import Look
from seas_runtime.placement.masks.augment import Ranges, augment
from seas_runtime.placement.masks.borders import NO_SIDES, Sides, sides_of
from seas_runtime.placement.masks.shapes import Shape
from seas_runtime.placement.morphology import BoolArray, box_of
from seas_runtime.placement.options import BOXES, SHAPES, PlacementOptions
from seas_runtime.placement.where.areas import read_mask

KEPT = 64
"""Masks of a folder that are held at a time."""

Shapes = Mapping[str, Sequence[Shape]]
Size = tuple[int, int]
"""Height and width of a photograph."""


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """A mask that is to be placed: `mask` [h, w], cut to its box."""

    mask: BoolArray
    spot: tuple[float, float] | None = None
    """Where on the part such a defect lies, down and across; None where that is not known."""
    inside: float = 1.0
    """The share of such a defect that lies on the part."""
    turned: npt.NDArray[np.float32] | None = None
    """How it was turned and mirrored, see `augment`; None where it was not."""
    look: Look | None = None
    """Of the real defect that it was made from, where there is one."""
    sides: Sides = NO_SIDES
    """The borders of a photograph at which it lies."""
    corner: tuple[int, int] | None = None
    """Top and left where a folder's mask has it on a photograph of its size; None for others."""


class Source(Protocol):
    """Where masks come from."""

    def draw(self, random: np.random.Generator, defect: str, size: Size, any_way: bool = False) -> DrawnMask:
        """Draw a mask for a photograph of (height, width); UserError where there is none for this defect.

        `any_way`: the part looks the same after any turn, and so may the defect be turned.
        """
        ...


def open_source(shapes: Shapes, options: PlacementOptions, to_borders: bool = False) -> Source:
    """Return the source that the options name; UserError for a folder that has no masks.

    `to_borders`: whether shapes that a photograph's border cut off lie at its border again.
    """
    if options.source == SHAPES:
        return ShapeSource(shapes, to_borders)
    if options.source == BOXES:
        return BoxSource(shapes, options.sizes)
    return FolderSource(Path(options.source), shapes)


class ShapeSource:
    """The shapes of real defects, augmented."""

    def __init__(self, shapes: Shapes, to_borders: bool = False) -> None:
        self._shapes, self._to_borders = shapes, to_borders
        self._ranges = _ranges_of(shapes)

    def draw(self, random: np.random.Generator, defect: str, size: Size, any_way: bool = False) -> DrawnMask:
        """Draw a shape of the defect, as `Source`."""
        if defect not in self._ranges:
            found = listed(self._ranges) or "no defect"
            raise UserError(
                f"--placement-source shapes: expected training masks of {defect!r} in the bundle, found "
                f"those of {found}. Give --placement-source boxes with --box-sizes, or a folder of masks"
            )
        shape = _choose(random, self._shapes[defect])
        sides = sides_of(shape) if self._to_borders else NO_SIDES
        ranges = self._ranges[defect]
        ranges = replace(ranges, turn=math.pi) if any_way else ranges
        mask, turned, look = augment(random, shape, ranges, size, sides)
        return DrawnMask(mask, shape.spot, shape.inside, turned, look, sides=sides.turned(turned))


class BoxSource:
    """Rectangles, by default as high and as wide as the shapes' boxes are."""

    def __init__(self, shapes: Shapes, sizes: tuple[float, float] | None) -> None:
        self._shapes, self._sizes = shapes, sizes
        self._ranges = _ranges_of(shapes)

    def draw(self, random: np.random.Generator, defect: str, size: Size, any_way: bool = False) -> DrawnMask:
        """Draw a rectangle, its sides evenly in their logarithms, as `Source`."""
        shapes = self._shapes.get(defect, ())
        if self._sizes is not None:
            ranges = [self._sizes, self._sizes]
        elif shapes:
            scales = [self._ranges[defect].scale_on(shape, size) for shape in shapes]
            boxes = np.array([shape.mask.shape for shape in shapes]) * np.array(scales)[:, None]
            ranges = list(zip(boxes.min(axis=0), boxes.max(axis=0), strict=True))
        else:
            raise UserError(
                f"--placement-source boxes: the bundle has no training masks of {defect!r} to take sizes "
                "from. Give them: --box-sizes 10:60"
            )
        height, width = (
            max(1, round(math.exp(random.uniform(math.log(low), math.log(high))))) for low, high in ranges
        )
        like = _choose(random, shapes) if shapes else None
        mask = np.ones((height, width), bool)
        return DrawnMask(mask, like.spot, like.inside) if like else DrawnMask(mask)


class FolderSource:
    """Masks of a person's own, as they are: of a folder named like the defect, or of the folder itself."""

    def __init__(self, folder: Path, shapes: Shapes) -> None:
        self._folder, self._shapes = folder, shapes
        self._files: dict[str, list[Path]] = {}
        self._read = lru_cache(KEPT)(_read_mask)
        if not folder.is_dir():
            raise UserError(
                f"--placement-source {folder}: expected {SHAPES}, {BOXES} or a folder of masks, found "
                f"{'a file' if folder.exists() else 'nothing'}"
            )

    def draw(self, random: np.random.Generator, defect: str, size: Size, any_way: bool = False) -> DrawnMask:
        """Draw one of the masks, as `Source`; UserError for one that is larger than the photograph."""
        if defect not in self._files:
            own = self._folder / defect
            self._files[defect] = find_photographs(own if own.is_dir() else self._folder)
        path = self._files[defect][int(random.integers(len(self._files[defect])))]
        mask = self._read(path)
        if mask.shape[0] > size[0] or mask.shape[1] > size[1]:
            found, most = (f"{width} x {height}" for height, width in (mask.shape, size))
            raise UserError(
                f"{path}: expected a mask no larger than the photograph, {most} pixels, found "
                f"{found}; cut it, or leave it out of the folder"
            )
        top, left, bottom, right = box_of(mask)
        shapes = self._shapes.get(defect, ())
        like = _choose(random, shapes) if shapes else None
        return DrawnMask(
            mask[top:bottom, left:right],
            like.spot if like else None,
            like.inside if like else 1.0,
            corner=(top, left) if mask.shape == size else None,
        )


def _read_mask(path: Path) -> BoolArray:
    mask = read_mask(path)
    if not mask.any():
        raise UserError(
            f"{path}: expected a mask, found none: every pixel is black; leave it out of the folder"
        )
    return mask


def _ranges_of(shapes: Shapes) -> dict[str, Ranges]:
    """Return what the shapes of each defect have in common, of those that have any."""
    return {defect: Ranges.of(found) for defect, found in shapes.items() if found}


def _choose(random: np.random.Generator, shapes: Sequence[Shape]) -> Shape:
    """Draw a shape: training photographs evenly, and of one's parts a larger one rather than a smaller one,
    so that defects are as large as they were photographed."""
    shares = np.array([shape.share for shape in shapes])
    if (shares == 1).all():
        return shapes[int(random.integers(len(shapes)))]
    return shapes[int(random.choice(len(shapes), p=shares / shares.sum()))]
