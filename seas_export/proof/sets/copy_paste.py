"""What one would do without a generator: real defects, cut out by their masks and pasted onto normals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from seas_runtime.errors import UserError
from seas_runtime.files import atomic_write_bytes
from seas_runtime.photographs.png import encode_picture
from seas_runtime.placement.blending import cloned
from seas_runtime.placement.morphology import BoolArray, box_of, connected_parts, grow

if TYPE_CHECKING:
    from seas_train.proof.pictures import Pictures, Sample

ZOOM = (0.7, 1.4)
SPARE = 0.35
"""How much of its longer side is cut out around a defect."""
GROWN = 2
"""Pixels beyond the mask that are pasted along, so that the seam lies on the surface."""
SEAM = 1.5
"""Standard deviation in pixels of the feather where OpenCV is not installed."""
_TRIES = 20
VERSION = 1
"""Counts what changes the pictures that come out."""

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Pasted:
    """The pairs that were made, and how they were blended, in words."""

    pairs: tuple[Sample, ...]
    way: str


def has_opencv() -> bool:
    """Whether OpenCV can be imported."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


def way_of_blending() -> str:
    """Say how defects are blended here."""
    if has_opencv():
        return "Poisson blending (OpenCV)"
    return "a feathered edge, for OpenCV is not installed (the extra `opencv` brings Poisson blending)"


def make_pasted(
    pictures: Pictures,
    pairs: Sequence[Sample],
    normals: Sequence[Sample],
    out: Path,
    count: int,
    seed: int,
) -> Pasted:
    """Write `count` pairs of each defect into the folder `out`, at the samples' scale; what is there is kept.

    Every picture follows from the seed, its defect and its number.
    """
    from seas_train.proof.pictures import Sample

    poisson = has_opencv()
    made: list[Sample] = []
    names = sorted({pair.defect for pair in pairs})
    for kind, name in enumerate(names):
        own = [pair for pair in pairs if pair.defect == name]
        for index in range(count):
            image, mask = (out / name / f"{index:06d}{ending}.png" for ending in ("", "_mask"))
            if not (image.is_file() and mask.is_file()):
                random = np.random.default_rng([seed, kind, index])
                pixels, marked = _pasted(random, pictures, own, normals, poisson)
                atomic_write_bytes(mask, encode_picture(marked.astype(np.uint8) * 255))
                atomic_write_bytes(image, encode_picture(pixels))
            made.append(Sample(image, mask, name, ready=True))
    return Pasted(tuple(made), way_of_blending())


def _pasted(
    random: np.random.Generator,
    pictures: Pictures,
    pairs: Sequence[Sample],
    normals: Sequence[Sample],
    poisson: bool,
) -> tuple[UInt8Array, BoolArray]:
    """Make one pair: one connected part of a real defect, at a random place of a random normal."""
    for attempt in range(_TRIES):  # ever smaller
        image, mask = pictures.read(pairs[int(random.integers(len(pairs)))])
        target, _ = pictures.read(normals[int(random.integers(len(normals)))])
        parts, count = connected_parts(mask)
        if not count:
            continue
        zoom = math.exp(random.uniform(*np.log(ZOOM))) * 0.9**attempt
        patch, shape = _turned(random, *_cut(image, parts == 1 + random.integers(count)), zoom)
        if not shape.any():
            continue
        top, left, bottom, right = box_of(grow(np.pad(shape, GROWN), GROWN))
        patch = np.pad(patch, ((GROWN, GROWN), (GROWN, GROWN), (0, 0)), mode="edge")
        patch, shape = patch[top:bottom, left:right], np.pad(shape, GROWN)[top:bottom, left:right]
        room = [target.shape[axis] - shape.shape[axis] for axis in (0, 1)]
        if min(room) < 2:
            continue
        row, column = (1 + int(random.integers(side - 1)) for side in room)
        return _blended(target, patch, shape, row, column, poisson)
    raise UserError(
        f"{pairs[0].defect}: expected defects that fit onto normals, found none in {_TRIES} tries; leave "
        "pasted pairs out with --no-copy-paste"
    )


def _cut(image: UInt8Array, part: BoolArray) -> tuple[UInt8Array, BoolArray]:
    """Cut out a part of a defect with what lies around it."""
    top, left, bottom, right = box_of(part)
    spare = math.ceil(SPARE * max(bottom - top, right - left)) + GROWN
    here = np.s_[max(0, top - spare) : bottom + spare, max(0, left - spare) : right + spare]
    return image[here], part[here]


def _turned(
    random: np.random.Generator, patch: UInt8Array, shape: BoolArray, zoom: float
) -> tuple[UInt8Array, BoolArray]:
    """Mirror, scale and turn a patch and its mask by any angle."""
    if random.random() < 0.5:
        patch, shape = patch[:, ::-1], shape[:, ::-1]
    size = tuple(max(1, round(side * zoom)) for side in reversed(shape.shape))
    angle = float(random.uniform(0, 360))
    margin = max(size) // 2
    picture = Image.fromarray(np.ascontiguousarray(patch)).resize(size, Image.Resampling.BICUBIC)
    marked = Image.fromarray(shape.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
    wide = np.pad(np.asarray(picture), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    turned = Image.fromarray(wide).rotate(angle, Image.Resampling.BICUBIC)
    mask = Image.fromarray(np.pad(np.asarray(marked), margin)).rotate(angle, Image.Resampling.BILINEAR)
    return np.asarray(turned), np.asarray(mask) > 127


def _blended(
    target: UInt8Array, patch: UInt8Array, shape: BoolArray, row: int, column: int, poisson: bool
) -> tuple[UInt8Array, BoolArray]:
    """Put a patch onto a picture so that its corner lies at a row and column; and the mask [H, W]."""
    height, width = shape.shape
    marked = np.zeros(target.shape[:2], np.bool_)
    marked[row : row + height, column : column + width] = shape
    around = grow(shape, GROWN)
    if poisson:
        source, inside = target.copy(), np.zeros(target.shape[:2], np.uint8)
        source[row : row + height, column : column + width] = patch
        inside[row : row + height, column : column + width] = around * 255
        return cloned(source, np.ascontiguousarray(target), inside), marked
    soft = Image.fromarray(np.pad(around, 1).astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(SEAM))
    share = np.asarray(soft, np.float32)[1:-1, 1:-1, None] / 255
    made = target.copy()
    here = made[row : row + height, column : column + width]
    here[:] = np.rint(here + share * (patch.astype(np.float32) - here)).astype(np.uint8)
    return made, marked
