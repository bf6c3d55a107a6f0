"""Fits photographs and masks to one square by the same transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.photographs.decode import open_image
from seas_runtime.photographs.quiet import quiet_decoders
from seas_train.data.images.pixels import rgb_pixels
from seas_train.data.images.preprocessing import Fit, Preprocessing, Resize


def read_image(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Read a photograph, upright and fitted: uint8 [size, size, 3]; UserError when it cannot be read."""
    return fit_image(read_pixels(path, preprocessing), preprocessing)


def read_pixels(path: Path, preprocessing: Preprocessing) -> Image.Image:
    """Read a photograph, upright, at its own resolution, as 8-bit RGB; UserError when it cannot be read."""
    with quiet_decoders():
        return rgb_pixels(open_image(path), preprocessing)


def fit_image(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Fit an RGB picture: uint8 [size, size, 3]."""
    box, inner = crop_box(image.size, preprocessing.fit), _inner_size(image.size, preprocessing)
    bilinear = preprocessing.resize is Resize.BILINEAR
    method = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
    pixels = np.asarray(image.resize(inner, method, box=box), dtype=np.uint8)
    return np.pad(pixels, (*_margins(inner, preprocessing.size), (0, 0)), mode="edge")


def fit_foreground(foreground: Image.Image, preprocessing: Preprocessing) -> NDArray[np.bool_]:
    """Fit a mask of 0 and 255 (mode L) as fit_image fits its photograph, by nearest neighbour or bilinearly.

    Bool [size, size], True on the defect.
    """
    box, inner = crop_box(foreground.size, preprocessing.fit), _inner_size(foreground.size, preprocessing)
    bilinear = preprocessing.resize is Resize.BILINEAR
    method = Image.Resampling.BILINEAR if bilinear else Image.Resampling.NEAREST
    values = np.asarray(foreground.resize(inner, method, box=box)) > (127 if bilinear else 0)
    return np.pad(values, _margins(inner, preprocessing.size))


def crop_box(size: tuple[int, int], fit: Fit) -> tuple[float, float, float, float]:
    """Return the part of a picture of (width, height) that is used: left, top, right, bottom."""
    width, height = size
    if fit is not Fit.CROP:
        return 0, 0, width, height
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def fitted_scale(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float]:
    """Return by how much a picture's width and height are scaled."""
    left, top, right, bottom = crop_box(size, preprocessing.fit)
    inner = _inner_size(size, preprocessing)
    return inner[0] / (right - left), inner[1] / (bottom - top)


def _inner_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the width and height that the used part is scaled to: the square, or less of it with padding."""
    target = preprocessing.size
    if preprocessing.fit is not Fit.PAD:
        return target, target
    scale = target / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _margins(inner: tuple[int, int], size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return np.pad's margins of rows and columns that centre the inner part."""
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    return (top, size - inner[1] - top), (left, size - inner[0] - left)
