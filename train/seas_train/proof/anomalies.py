"""Anomalies that DRAEM draws into normals: Perlin noise says where, a texture of anything else what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.proof.pictures import Pictures, Sample

CELLS = 6
"""Perlin noise has 1, 2, 4, ... 32 cells along either side of a crop, as in the authors' code."""
THRESHOLD = 0.5
"""Of noise between -1 and 1: above it an anomaly is drawn."""
OPACITY = (0.1, 1.0)
"""How much of the texture is seen (section 3.2)."""
CHANGES = 3
"""That are made to a texture, drawn from seven."""
SHUFFLED = (4, 8)
"""Cells along a side that a product's own photograph is cut into and shuffled."""
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_TRIES = 20

UInt8Array = NDArray[np.uint8]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Draws anomalies. textures: pictures they look like; none for the product's own, shuffled."""

    pictures: Pictures
    textures: tuple[Sample, ...] = ()

    @classmethod
    def of(cls, folder: Path | None, pictures: Pictures) -> Anomalies:
        """Return what draws anomalies with a folder's pictures, or with none."""
        found = () if folder is None else texture_files(folder)
        return cls(pictures, tuple(Sample(file, ready=True) for file in found))

    def texture(
        self, random: np.random.Generator, size: int, product: Callable[[], UInt8Array]
    ) -> UInt8Array:
        """Return [size, size, 3], changed in colour and light; `product` cuts that from a photograph."""
        if self.textures:
            image, _ = self.pictures.read(self.textures[int(random.integers(len(self.textures)))])
            found = _square(random, image, size)
        else:
            found = shuffled(random, product())
        return changed(random, found)

    def draw(
        self, random: np.random.Generator, picture: Tensor, texture: UInt8Array
    ) -> tuple[Tensor, Tensor]:
        """Return a picture [3, S, S] of 0 to 1 with an anomaly, and the anomaly's mask [S, S].

        Beneath the mask the picture is (1 - b) picture + b texture with an opacity b (equation 2).
        """
        shape = torch.from_numpy(anomaly_mask(random, picture.shape[-1])).to(picture.dtype)
        there = torch.from_numpy(np.ascontiguousarray(texture.transpose(2, 0, 1))).to(picture.dtype) / 255
        opacity = float(random.uniform(*OPACITY))
        return picture + shape * opacity * (there - picture), shape


def texture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder and of those in it, by name; UserError where there is none."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _ENDINGS)
    if not files:
        found = "none in it" if folder.is_dir() else "no such folder"
        raise UserError(
            f"--textures {folder}: expected a folder of pictures ({', '.join(_ENDINGS)}), found {found}"
        )
    return files


def anomaly_mask(random: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Return where an anomaly lies, [size, size]: where Perlin noise is high; drawn until it is anywhere."""
    for _ in range(_TRIES):
        down, across = (2 ** int(random.integers(CELLS)) for _ in range(2))
        found = perlin_noise(random, size, down, across) > THRESHOLD
        if found.any():
            return found
    raise AssertionError(f"no noise above {THRESHOLD} in {_TRIES} tries")


def perlin_noise(random: np.random.Generator, size: int, down: int, across: int) -> FloatArray:
    """Return Perlin's gradient noise [size, size] of -1 to 1, turned by any angle.

    down, across: cells along the sides.
    """
    angle = random.uniform(0, 2 * math.pi)
    places = (np.arange(size) + 0.5) / size - 0.5
    rows, columns = np.meshgrid(places, places, indexing="ij")
    turned = (
        rows * math.cos(angle) - columns * math.sin(angle),
        rows * math.sin(angle) + columns * math.cos(angle),
    )
    # A turned square fits into one that is half as large again.
    row, column = ((axis + 0.75) * cells for axis, cells in zip(turned, (down, across), strict=True))
    corners = [math.ceil(1.5 * cells) + 2 for cells in (down, across)]
    slopes = random.uniform(0, 2 * math.pi, corners)
    top, left = row.astype(int), column.astype(int)
    inner = row - top, column - left
    found = np.zeros((size, size))
    for lower in (0, 1):
        for right in (0, 1):
            slope = slopes[top + lower, left + right]
            height = np.cos(slope) * (inner[0] - lower) + np.sin(slope) * (inner[1] - right)
            nearness = [
                _fade(one) if far else 1 - _fade(one) for one, far in zip(inner, (lower, right), strict=True)
            ]
            found += nearness[0] * nearness[1] * height
    return math.sqrt(2) * found


def shuffled(random: np.random.Generator, picture: UInt8Array) -> UInt8Array:
    """Return a picture [S, S, 3] whose cells lie in another order, each turned by quarters."""
    size = picture.shape[0]
    cells = int(SHUFFLED[int(random.integers(len(SHUFFLED)))])
    side = size // cells
    made: UInt8Array = picture.copy()
    for place, source in enumerate(random.permutation(cells * cells)):
        (row, column), (there, beside) = divmod(place, cells), divmod(int(source), cells)
        cell = picture[there * side : (there + 1) * side, beside * side : (beside + 1) * side]
        turned = np.rot90(cell, int(random.integers(4)))
        made[row * side : (row + 1) * side, column * side : (column + 1) * side] = turned
    return made


def changed(random: np.random.Generator, texture: UInt8Array) -> UInt8Array:
    """Return a texture after three changes of light and colour, drawn from seven."""
    strength = float(random.uniform(0.5, 1.5))
    every: tuple[Callable[[Image.Image], Image.Image], ...] = (
        ImageOps.equalize,
        ImageOps.autocontrast,
        ImageOps.invert,
        lambda image: ImageOps.posterize(image, 2 + int(strength * 2)),
        lambda image: ImageOps.solarize(image, round(80 + 80 * strength)),
        lambda image: ImageEnhance.Brightness(image).enhance(strength),
        lambda image: image.convert("HSV").point(_hue(int(random.integers(256)))).convert("RGB"),
    )
    image = Image.fromarray(texture)
    for place in random.choice(len(every), CHANGES, replace=False):
        image = every[int(place)](image)
    return np.asarray(image, np.uint8)


def _hue(by: int) -> list[int]:
    """Return a table of 3 x 256 values that turns the hue of an HSV picture."""
    return [*((value + by) % 256 for value in range(256)), *(2 * list(range(256)))]


def _fade(value: FloatArray) -> FloatArray:
    return np.asarray(value**3 * (value * (6 * value - 15) + 10))


def _square(random: np.random.Generator, image: UInt8Array, size: int) -> UInt8Array:
    """Cut [size, size, 3] from anywhere of a picture; a smaller one is enlarged."""
    height, width = image.shape[:2]
    if min(height, width) < size:
        grown = size / min(height, width)
        wide = (max(size, round(width * grown)), max(size, round(height * grown)))
        image = np.asarray(Image.fromarray(image).resize(wide, Image.Resampling.BICUBIC))
        height, width = image.shape[:2]
    top, left = int(random.integers(height - size + 1)), int(random.integers(width - size + 1))
    return image[top : top + size, left : left + size]
