"""Reads photographs and masks as factories save them, and fits both to one square by the same transform."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seas_runtime.errors import UserError

# Read by content, not by ending; formats with an interpreter behind them (EPS, PDF, ...) are never opened.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
MAX_PIXELS = 178_956_970  # Pillow's own decompression-bomb limit: about 13,400 x 13,400
FOREGROUND = 127  # a mask's pixel above this is defect, unless the mask is a label map
BIT_DEPTHS = (8, 10, 12, 14, 16)  # of sensors that store into 16-bit files
TRANSPOSE = {  # EXIF orientation -> what makes the picture upright (EXIF 2.3, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WIDE_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I"})


class Fit(str, Enum):
    """Ways to make a square of a photograph of any shape."""

    CROP = "crop"  # short side to size, centre crop
    PAD = "pad"  # long side to size, border pixels repeated (background in the mask)
    STRETCH = "stretch"  # both sides to size


@dataclass(frozen=True)
class Preprocessing:
    """Brings every image and mask of a product to [size, size]."""

    size: int
    fit: Fit = Fit.CROP
    bit_depth: int = 16
    """Of the values in 16-bit files: 12 where the camera's end at 4095."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"image size: expected a positive number of pixels, found {self.size}")
        if self.bit_depth not in BIT_DEPTHS:
            raise UserError(f"bit depth: expected one of {BIT_DEPTHS}, found {self.bit_depth}")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values that from_dict reads back."""
        return {"size": self.size, "fit": self.fit.value, "bit_depth": self.bit_depth}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read what to_dict wrote; UserError names the key that is missing or has a wrong value."""
        try:
            return cls(int(values["size"]), Fit(values["fit"]), int(values.get("bit_depth", 16)))
        except KeyError as error:
            raise UserError(f"preprocessing: expected a key {error}, found {sorted(values)}") from error
        except (TypeError, ValueError) as error:
            raise UserError(f"preprocessing: {error}; found {values!r}") from error


class UnreadableImage(UserError):
    """A file that cannot be decoded; `reason` is the message without the file's name."""

    def __init__(self, path: Path, reason: str, too_large: bool = False) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
        self.too_large = too_large


@dataclass(frozen=True)
class Opened:
    """A file decoded in full: pixels as stored, and the EXIF orientation (1 to 8) not yet applied."""

    path: Path
    stored: Image.Image
    orientation: int
    sha256: str
    pages: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        width, height = self.stored.size
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def is_wide(self) -> bool:
        """Whether a pixel has more than 8 bits."""
        return self.stored.mode in WIDE_MODES


def open_image(path: Path) -> Opened:
    """Read and decode the whole file; UnreadableImage says why it cannot be."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened: {error.strerror or error}") from error
    if not data:
        raise UnreadableImage(path, "is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        image.load()
    except Image.DecompressionBombError as error:
        limit = f"{MAX_PIXELS / 1e6:.0f} megapixels"
        raise UnreadableImage(path, f"has more than {limit}; scale it down", too_large=True) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(path, "is not a PNG, JPEG, BMP or TIFF image that can be read") from error
    except MemoryError as error:
        raise UnreadableImage(path, "does not fit in memory", too_large=True) from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise UnreadableImage(path, f"is damaged or cut short ({error})") from error
    if image.mode == "F":
        raise UnreadableImage(path, "has floating-point pixels; save it with 8 or 16 bits")
    return Opened(path, image, _orientation(image), hashlib.sha256(data).hexdigest(), pages)


def rgb_pixels(opened: Opened, bit_depth: int = 16) -> Image.Image:
    """Return the upright photograph as 8-bit RGB; transparency is laid over white."""
    image = opened.stored
    if opened.is_wide:
        values = wide_values(opened).astype(np.float32) * (255.0 / (2**bit_depth - 1))
        image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    elif _has_alpha(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return _upright(image.convert("RGB"), opened.orientation)


def wide_values(opened: Opened) -> NDArray[np.int64]:
    """Return the values of a 16-bit picture as stored: [height, width], 0 to 65535."""
    values = np.asarray(opened.stored).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(
            opened.path,
            f"expected values from 0 to 65535, found {values.min()} to {values.max()}; save it with 16 bits",
        )
    return values


def mask_values(opened: Opened) -> Image.Image:
    """Return a mask's 8-bit values (mode L, upright by its own EXIF), zero only where the file has zero.

    A colour counts as its brightest channel, so that pure red is foreground. A palette's colours count, or
    its indices where every colour is black. Transparency is background; a mask of one colour is its alpha.
    """
    image = opened.stored
    if opened.is_wide:
        wide = wide_values(opened)
        values = (-(-wide // 257) if wide.max() > 255 else wide).astype(np.uint8)
    elif _has_alpha(image):
        rgba = np.asarray(image.convert("RGBA"))  # [h, w, 4]
        colour, alpha = rgba[..., :3].max(axis=-1), rgba[..., 3]
        one_colour = bool(np.all(colour == colour.flat[0]))
        values = alpha if one_colour and alpha.min() != alpha.max() else np.where(alpha > 0, colour, 0)
    elif image.mode == "P":
        values = np.asarray(image.convert("RGB")).max(axis=-1)
        values = values if values.any() else np.asarray(image)
    elif image.mode in ("1", "L"):
        values = np.asarray(image.convert("L"))
    else:
        values = np.asarray(image.convert("RGB")).max(axis=-1)
    return _upright(Image.fromarray(np.ascontiguousarray(values, dtype=np.uint8)), opened.orientation)


def match_mask(mask: Image.Image, photograph: Opened) -> Image.Image:
    """Turn a mask that was drawn on its photograph's stored pixels as the photograph is turned.

    Sizes tell: a mask that already has the upright photograph's size is returned as it is.
    """
    if mask.size != photograph.size and mask.size == photograph.stored.size:
        return _upright(mask, photograph.orientation)
    return mask


def fit_image(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Fit an RGB picture: uint8 [size, size, 3]."""
    box, inner = source_box(image.size, preprocessing), _inner_size(image.size, preprocessing)
    pixels = np.asarray(image.resize(inner, Image.Resampling.BICUBIC, box=box), dtype=np.uint8)
    return np.pad(pixels, (*_margins(inner, preprocessing.size), (0, 0)), mode="edge")


def fit_mask(mask: Image.Image, preprocessing: Preprocessing, label_map: bool) -> NDArray[np.bool_]:
    """Fit a mask (mode L) as fit_image fits its photograph, by nearest neighbour: bool [size, size]."""
    box, inner = source_box(mask.size, preprocessing), _inner_size(mask.size, preprocessing)
    values = np.asarray(mask.resize(inner, Image.Resampling.NEAREST, box=box))
    foreground = values > (0 if label_map else FOREGROUND)
    return np.pad(foreground, _margins(inner, preprocessing.size))


def read_image(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Read a photograph, upright and fitted: uint8 [size, size, 3]; UserError when it cannot be read."""
    return fit_image(rgb_pixels(open_image(path), preprocessing.bit_depth), preprocessing)


def read_mask(
    path: Path, preprocessing: Preprocessing, label_map: bool, image: Path | None = None
) -> NDArray[np.bool_]:
    """Read a mask, fitted as its photograph is: bool [size, size], True on the defect.

    With a label map every value but 0 is defect, otherwise values above 127. `image` is the mask's
    photograph: where the mask was drawn on pixels that EXIF turns, it is turned along. UserError when a file
    cannot be read or sizes differ.
    """
    mask = mask_values(open_image(path))
    if image is not None:
        photograph = open_image(image)
        mask = match_mask(mask, photograph)
        if mask.size != photograph.size:
            raise UserError(f"{path}: expected the size of {image}, {photograph.size}, found {mask.size}")
    return fit_mask(mask, preprocessing, label_map)


def source_box(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """Return the part of a picture of (width, height) that is used: left, top, right, bottom."""
    width, height = size
    if preprocessing.fit is not Fit.CROP:
        return 0, 0, width, height
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


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


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns these itself as it loads them
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block must not cost the picture
        return 1
    return value if value in TRANSPOSE else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
