"""Pictures for a report: overlays, thumbnails, data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

# Magenta stands out on glass, metal and tile alike.
OVERLAY_COLOUR = (255, 0, 170)
_TINT = 0.25


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


def overlay(image: Pixels, mask: Pixels) -> Pixels:
    """Tint an image, uint8 [H, W, 3], where its mask, uint8 [H, W], is set, and draw the mask's outline."""
    inside = mask > 127
    width = max(1, round(min(mask.shape) / 128))
    core = inside
    for _ in range(width):
        core = _eroded(core)
    colour = np.array(OVERLAY_COLOUR, dtype=np.float32)
    made = image.astype(np.float32)
    made[inside] = (1 - _TINT) * made[inside] + _TINT * colour
    made[inside & ~core] = colour
    result: Pixels = made.round().astype(np.uint8)
    return result


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask without the pixels that touch its outside, above, below, left or right."""
    padded = np.pad(mask, 1, mode="edge")
    core: NDArray[np.bool_] = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    core &= padded[1:-1, :-2] & padded[1:-1, 2:]
    return core


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
