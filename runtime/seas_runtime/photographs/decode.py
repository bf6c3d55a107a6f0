"""Decodes picture files: whatever Pillow reads, colour of 16 bits without loss, and no exception but one."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from seas_runtime.errors import UserError
from seas_runtime.photographs import sixteen_bits
from seas_runtime.regular import open_regular
from seas_runtime.units import size_words

# Read by content, not by ending; formats with an interpreter behind them (EPS, PDF, ...) are never opened.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc")  # from a file's fifth byte on
PNG = b"\x89PNG\r\n\x1a\n"
_BLOCK = 1 << 24
LARGE = 1_000_000  # pixels: below, decoding costs little
FEWEST_BYTES = 0.5  # a pixel, of a PNG that is surely not blank
MAX_PIXELS = 178_956_970  # Pillow's own decompression-bomb limit: about 13,400 x 13,400
TRANSPOSE = {  # EXIF orientation -> what makes the picture upright (EXIF 2.3, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WIDE_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
FILE_LIMIT = 2 << 30
"""Bytes of a file, read whole: what MAX_PIXELS take at the most, four channels of 16 bits, with room."""
THUMBNAIL = 256  # pixels of the short side at least: about what a base sees of a picture


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
    """8 bits a channel, or one of WIDE_MODES."""
    orientation: int
    sha256: str
    pages: int
    stored_size: tuple[int, int]
    """Width and height in the file: those of `stored`, but for thumbnails."""
    colour: NDArray[np.uint16] | None = None
    """Values [height, width, 3 or 4] of a colour picture of 16 bits a channel, of which `stored` has the high
    bytes."""
    inverted: bool = False
    """Whether 0 is white (16-bit grey of TIFF)."""
    premultiplied: bool = False
    """Whether colours are multiplied by alpha (a TIFF's associated alpha)."""
    grey_alpha: bool = False
    """Whether `colour` is grey and alpha, its grey given three times."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        width, height = self.stored_size
        return (height, width) if self.orientation >= 5 else (width, height)

    @property
    def is_thumbnail(self) -> bool:
        """Whether the picture was decoded at a part of its size."""
        return self.stored.size != self.stored_size

    @property
    def is_wide(self) -> bool:
        """Whether a pixel has more than 8 bits a channel."""
        return self.colour is not None or self.stored.mode in WIDE_MODES

    @property
    def depth(self) -> str:
        """The number of bits a channel as the file has it, and whether it is colour, in words."""
        if self.stored.mode == "F":
            return "floating point"
        bits = {"I": 32, "1": 1}.get(self.stored.mode, 16 if self.is_wide else 8)
        grey = self.stored.mode in (*WIDE_MODES, "1", "L", "LA", "La")
        return f"{bits}-bit {'grey' if grey else 'colour'}"

    def wide_values(self) -> NDArray[np.generic]:
        """Return the values of a picture of more than 8 bits: [height, width] or [height, width, channels],
        uint16, int32 or float32; what is no number (NaN) is the lowest of the others."""
        if self.colour is not None:
            return self.colour
        stored = np.asarray(self.stored)
        if stored.dtype == np.float32 and not np.isfinite(stored).all():
            finite = stored[np.isfinite(stored)]
            low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
            stored = np.nan_to_num(stored, nan=low, neginf=low, posinf=high)
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        return 65535 - stored if self.inverted else stored

    def upright(self, image: Image.Image) -> Image.Image:
        """Turn a picture of the stored pixels as EXIF says."""
        return image.transpose(TRANSPOSE[self.orientation]) if self.orientation in TRANSPOSE else image


def open_image(path: Path, thumbnail: bool = False) -> Opened:
    """Read and decode the whole file; UnreadableImage says why it cannot be.

    A thumbnail of a JPEG is decoded at down to an eighth of its size, in half the time; others know none.
    """
    return decode_image(path, _read(path), thumbnail)


def decode_image(
    path: Path, data: bytes, thumbnail: bool = False, formats: tuple[str, ...] | None = None
) -> Opened:
    """Decode a file's bytes, of one of these formats alone where they are given; as `open_image`."""
    try:
        return _decode(path, data, thumbnail, formats or _formats(data))
    except UnreadableImage:
        raise
    except Image.DecompressionBombError as error:
        limit = f"{MAX_PIXELS / 1e6:.0f} megapixels"
        raise UnreadableImage(path, f"has more than {limit}; scale it down", too_large=True) from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(path, _unidentified(data)) from error
    except MemoryError as error:
        raise UnreadableImage(path, "does not fit in memory", too_large=True) from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableImage(path, f"is damaged or cut short ({words})") from error


def whole_png(path: Path) -> Opened | None:
    """Check a PNG of 8 bits by its checksums, in a tenth of the time; its pixels are not there.

    None where that does not tell: another format or depth, a checksum that does not hold, a picture that is
    decoded as fast, or a file so small for its pixels that it may be blank. UnreadableImage where it cannot
    be opened.
    """
    data = _read(path)
    if not data.startswith(PNG):
        return None
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        size = image.size
        deep = any(";16" in mode for mode in sixteen_bits.raw_modes(image)) or image.mode in WIDE_MODES
        pixels = size[0] * size[1]
        if deep or not LARGE <= pixels <= MAX_PIXELS or len(data) < FEWEST_BYTES * pixels:
            return None
        image.verify()
    except Exception:  # the decoder says what is wrong
        return None
    return Opened(path, image, 1, hashlib.sha256(data).hexdigest(), 1, size)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            data = b"".join(iter(lambda: file.read(_BLOCK), b"")) if size <= FILE_LIMIT else b""
    except UserError as error:
        raise UnreadableImage(path, str(error).removeprefix(f"{path}: ")) from error
    except MemoryError as error:
        raise UnreadableImage(path, "does not fit in memory", too_large=True) from error
    except OSError as error:
        raise UnreadableImage(path, f"cannot be opened: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise UnreadableImage(path, f"cannot be opened: {error}") from error
    if size > FILE_LIMIT:
        raise UnreadableImage(path, f"has more than {size_words(FILE_LIMIT)}; scale it down", too_large=True)
    if not data:
        raise UnreadableImage(path, "is empty (0 bytes)")
    return data


def _formats(data: bytes) -> tuple[str, ...]:
    """Return the formats that a file may have; HEIC only where its reader is installed, which is loaded."""
    if not data[4:].startswith(HEIC):
        return FORMATS
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener(thumbnails=False)
    return (*FORMATS, "HEIF")


def _decode(path: Path, data: bytes, thumbnail: bool, formats: tuple[str, ...]) -> Opened:
    image = Image.open(io.BytesIO(data), formats=formats)
    size = image.size
    if size[0] * size[1] > MAX_PIXELS:
        raise Image.DecompressionBombError
    if thumbnail:
        image.draft(None, (THUMBNAIL, THUMBNAIL))
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # of phones: a preview, a depth map
    if sixteen_bits.is_split(image):
        reason = "has colour of 16 bits in compressed planes; save it with interleaved channels, or as PNG"
        raise UnreadableImage(path, reason)
    sixteen_bits.correct_order(image)
    premultiplied, colour = sixteen_bits.keep_premultiplied(image), None
    grey_alpha = sixteen_bits.is_grey_alpha(image)
    if sixteen_bits.is_colour(image):
        again = Image.open(io.BytesIO(data), formats=FORMATS)
        sixteen_bits.keep_premultiplied(again)
        colour = sixteen_bits.load_values(image, again)
    image.load()
    # A TIFF is turned by Pillow itself as it is loaded: `image.size` is the upright one.
    if image.format == "TIFF":
        size = image.size
    return Opened(
        path=path,
        stored=image,
        orientation=_orientation(image),
        sha256=hashlib.sha256(data).hexdigest(),
        pages=pages,
        stored_size=size,
        colour=colour,
        inverted=sixteen_bits.is_inverted(image),
        premultiplied=premultiplied,
        grey_alpha=grey_alpha,
    )


def _unidentified(data: bytes) -> str:
    """Say what a file is that Pillow does not know, where its first bytes tell."""
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a TIFF of a kind that is not read; save it with 8 or 16 bits a channel, or as PNG"
    if data[4:].startswith(HEIC):
        return "is HEIC: install the extra `heic`, which reads it, or save it as PNG or JPEG"
    return "is not a PNG, JPEG, BMP, TIFF or WebP image that can be read"


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns these itself as it loads them
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
        return value if value in TRANSPOSE else 1
    except Exception:  # a broken EXIF block must not cost the picture
        return 1
