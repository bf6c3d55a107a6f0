"""Pictures as a page shows them: of 8 bits, and small where they are many."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.photographs.png import encode_png
from seas_runtime.photographs.reading import decode_photograph, read_photograph
from seas_runtime.photographs.values import UInt8Array, split_alpha
from seas_runtime.service.refusals import NotThere

SIZES = (16, 4096)
"""Of a picture's longer side, where it is made smaller."""


def shown(path: Path, longest: int | None) -> bytes:
    """Return a picture as PNG of 8 bits, at most `longest` pixels high and wide."""
    picture = Image.fromarray(eight_bits(read_photograph(path).pixels))
    if longest is not None:
        picture.thumbnail((longest, longest), Image.Resampling.BOX)
    return _png(picture)


def background(bundle: Bundle, index: int) -> bytes:
    """Return a photograph that a bundle carries; UserError where it has none of that number."""
    if not 0 <= index < len(bundle.backgrounds):
        raise NotThere("photograph: the bundle carries none of that number")
    return encode_png(eight_bits(bundle.backgrounds[index].pixels))


def mask_of(data: bytes, size: tuple[int, int]) -> bytes:
    """Return a person's mask as ours are written, one channel of 0 and 255; UserError for no fitting one.

    size: width and height of its picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
            found = opened.size
    except Exception:  # Pillow raises nearly anything on files that are no pictures
        raise UserError("mask: expected a PNG picture, found none") from None
    if found != size:
        raise UserError(
            f"mask: expected {size[0]} x {size[1]} pixels as its picture has, found {found[0]} x {found[1]}"
        )
    values, _ = split_alpha(decode_photograph(data, Path("mask"), ("PNG",)).pixels)
    grey = values if values.ndim == 2 else values.max(axis=2)
    mask = np.where(grey > np.iinfo(grey.dtype).max // 2, np.uint8(255), np.uint8(0))
    if not mask.any():
        raise UserError("mask: expected a defect in it, found none; reject the pair if it has none")
    return encode_png(mask)


def size_of(picture: Path | bytes) -> tuple[int, int]:
    """Return width and height of a picture of ours."""
    with Image.open(
        io.BytesIO(picture) if isinstance(picture, bytes) else picture, formats=["PNG"]
    ) as opened:
        width, height = opened.size
    return width, height


def area(width: int, height: int, polygons: list[list[tuple[float, float]]]) -> bytes:
    """Return a legal area as a mask picture; UserError where nothing lies in it."""
    from PIL import ImageDraw

    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    for polygon in polygons:
        if len(polygon) < 3 or len(polygon) > 10_000:
            raise UserError(f"legal: expected polygons of 3 to 10000 points, found one of {len(polygon)}")
        if not all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in polygon):
            raise UserError("legal: expected points on the photograph, found one beyond it")
        draw.polygon(polygon, fill=255)
    if picture.getextrema() == (0, 0):
        raise UserError("legal: expected an area, found none; draw a larger one")
    return _png(picture)


def eight_bits(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> UInt8Array:
    """Return a photograph's values as a screen shows them; of grey and alpha the grey."""
    values = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 2 else values


def _png(picture: Image.Image) -> bytes:
    held = io.BytesIO()
    picture.save(held, "PNG", compress_level=1)
    return held.getvalue()
