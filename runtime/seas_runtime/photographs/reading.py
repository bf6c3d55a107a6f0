"""Reads photographs as they are: every value of 8 or 16 bits, upright, with the hash of the file."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.clutter import is_clutter
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors
from seas_runtime.photographs.conversion import has_alpha, lab_to_rgb
from seas_runtime.photographs.decode import Opened, UnreadableImage, decode_image, open_image
from seas_runtime.photographs.quiet import quiet_decoders
from seas_runtime.photographs.values import Pixels, alpha_says_nothing, split_alpha

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""Read where pillow-heif is installed."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph, upright: its values as the file has them, the file's SHA-256, and its name."""

    pixels: Pixels
    sha256: str
    name: str
    """Of its file, without the folder."""

    @property
    def height(self) -> int:
        """Its height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Its width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def mode(self) -> str:
        """Its channels and depth in words: `16-bit grey`, `8-bit RGBA`."""
        channels = self.pixels.shape[2] if self.pixels.ndim == 3 else 1
        kind = {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGBA"}[channels]
        return f"{8 * self.pixels.dtype.itemsize}-bit {kind}"

    @cached_property
    def opaque(self) -> bool:
        """Whether transparency says nothing: there is no alpha, or the same everywhere."""
        alpha = split_alpha(self.pixels)[1]
        return alpha is None or alpha_says_nothing(alpha)


def is_image_name(path: Path) -> bool:
    """Whether the file's ending is one that we read, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES or (
        path.suffix.lower() in HEIC_SUFFIXES and importlib.util.find_spec("pillow_heif") is not None
    )


def find_photographs(folder: Path) -> list[Path]:
    """Return the pictures that lie in `folder` itself, by name; UserError where there is none."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise UserError(f"{folder}: expected a folder of photographs, found {found}")
    with os_errors(folder, "read"):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        pictures = [
            Path(folder, entry.name)
            for entry in entries
            if not entry.name.startswith(".")
            and not is_clutter(entry.name)
            and is_image_name(Path(entry.name))
            and not entry.is_dir()
        ]
    if not pictures:
        inside = [entry.name for entry in entries if entry.is_dir() and not is_clutter(entry.name)]
        hint = f"; give one of its folders, such as {Path(folder, inside[0])}" if inside else ""
        raise UserError(
            f"{folder}: expected photographs ({', '.join(sorted(IMAGE_SUFFIXES))}), found none{hint}"
        )
    return pictures


def read_photograph(path: Path) -> Photograph:
    """Read a photograph; UserError that names the file where it cannot be read without loss."""
    with quiet_decoders():
        opened = open_image(path)
        return Photograph(_pixels(opened), opened.sha256, path.name)


def decode_photograph(data: bytes, path: Path, formats: tuple[str, ...] | None = None) -> Photograph:
    """Decode a file's bytes, of these formats alone; as `read_photograph`, errors name `path`."""
    with quiet_decoders():
        pixels = _pixels(decode_image(path, data, formats=formats))
    return Photograph(pixels, hashlib.sha256(data).hexdigest(), path.name)


def _pixels(opened: Opened) -> Pixels:
    pixels: npt.NDArray[Any] = _wide(opened) if opened.is_wide else np.asarray(_eight_bits(opened))
    if opened.premultiplied:
        pixels = _straight(pixels)
    made = np.ascontiguousarray(_upright(pixels, opened.orientation))
    made.flags.writeable = False
    return made


def _wide(opened: Opened) -> npt.NDArray[np.uint16]:
    """Return values of 16 bits; UnreadableImage for what they do not hold."""
    values = opened.wide_values()
    if opened.grey_alpha:
        values = values[..., [0, 3]]
    if values.dtype == np.float32 or (
        values.dtype != np.uint16 and (values.min() < 0 or values.max() > 65535)
    ):
        reason = f"has {opened.depth} values, which 16 bits do not hold; save it with 8 or 16 bits a channel"
        raise UnreadableImage(opened.path, reason)
    return values.astype(np.uint16, copy=False)


def _eight_bits(opened: Opened) -> Image.Image:
    """Return a picture of mode L, LA, RGB or RGBA."""
    image = opened.stored
    if image.mode == "LAB":
        return lab_to_rgb(opened)
    grey = image.mode in ("1", "L", "LA", "La")
    if has_alpha(image):
        return image.convert("RGBA").convert("LA") if grey else image.convert("RGBA")
    return image.convert("L" if grey else "RGB")


def _straight(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return colours that are not multiplied by alpha: PNG has no others."""
    colour, alpha = split_alpha(pixels)
    if alpha is None:
        return pixels
    most = np.iinfo(pixels.dtype).max
    share = np.maximum(alpha, 1).astype(np.float64)[(...,) + (None,) * (colour.ndim - 2)]
    made = np.clip(np.rint(colour * (most / share)), 0, most).astype(pixels.dtype)
    return np.dstack([made, alpha])


def _upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn pixels as EXIF's orientation says (EXIF 2.3, tag 0x0112)."""
    turned = np.rot90(pixels, {3: 2, 4: 2, 6: -1, 7: -1, 5: 1, 8: 1}.get(orientation, 0))
    return turned[:, ::-1] if orientation in (2, 4) else turned[::-1] if orientation in (5, 7) else turned
