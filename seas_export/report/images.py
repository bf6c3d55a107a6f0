"""Pictures for a report: overlays, thumbnails, data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.dataset.contact_sheet import outline_mask

Pixels = NDArray[np.uint8]

# Magenta stands out on glass, metal and tile alike.
OVERLAY_COLOUR = (255, 0, 170)


def read_rgb(file: Path, side: int | None = None) -> Pixels:
    """Read an image as uint8 [H, W, 3], at most `side` pixels wide and high."""
    with Image.open(file) as image:
        image = image.convert("RGB")
        if side is not None:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return np.asarray(image)


def read_mask(file: Path, side: int | None = None) -> Pixels:
    """Read a mask as uint8 [H, W], 0 or 255, at most `side` pixels wide and high."""
    with Image.open(file) as image:
        image = image.convert("L")
        if side is not None:
            image.thumbnail((side, side), Image.Resampling.NEAREST)
        return np.where(np.asarray(image) > 127, 255, 0).astype(np.uint8)


def fit(pixels: Pixels, side: int) -> Pixels:
    """Shrink or grow a picture to `side` x `side`; a mask (two dimensions) keeps its two values."""
    how = Image.Resampling.NEAREST if pixels.ndim == 2 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))


def smaller(pixels: Pixels, side: int) -> Pixels:
    """Shrink a picture that is wider or higher than `side` pixels; it keeps its shape, a mask its values."""
    if max(pixels.shape[:2]) <= side:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.NEAREST if pixels.ndim == 2 else Image.Resampling.LANCZOS)
    return np.asarray(image)


def overlay(image: Pixels, mask: Pixels) -> Pixels:
    """Tint an image, uint8 [H, W, 3], where its mask, uint8 [H, W], is set, and draw the mask's outline."""
    return outline_mask(image, mask > 127, OVERLAY_COLOUR, 0.25)


def photograph_uri(pixels: Pixels) -> str:
    """A picture as a JPEG data URI."""
    return _uri(pixels, "jpeg", quality=90)


def mask_uri(pixels: Pixels) -> str:
    """A mask as a PNG data URI."""
    return _uri(pixels, "png", optimize=True)


def _uri(pixels: Pixels, kind: str, **options: object) -> str:
    """Pixels as a data URI of an image format."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
