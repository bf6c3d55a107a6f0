"""What Pillow leaves out of pictures of more than 8 bits: the low bytes of colour, and the order of others.

Pillow has no mode for colour of 16 bits a channel, and decodes its high bytes alone. Its decoders say in a
tile's *raw mode* in which order the two bytes of a value lie (`RGB;16B`, `RGB;16L`) and keep the higher one;
told the other order they keep the lower one, so a second pass gets those.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"L": "B", "B": "L"}
_GREY_ALPHA = "LA;16B"  # of PNG
_PLANES = frozenset("RGBA")
_COLOUR = ("RGB", "RGBA")
_BIG_ENDIAN = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}


def is_colour(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet has colour, or grey and alpha, of 16 bits a channel."""
    modes = raw_modes(image)
    in_planes = bool(modes) and modes <= _PLANES and _bits(image) == 16
    return image.mode in _COLOUR and (in_planes or any(";16" in mode for mode in modes))


def is_split(image: Image.Image) -> bool:
    """Whether it has such colour in planes that libtiff decompresses: it knows no other order of bytes."""
    split = getattr(image, "tag_v2", {}).get(284) == 2 and _bits(image) == 16
    return split and image.mode in _COLOUR and any(tile[0] == "libtiff" for tile in _tiles(image))


def is_grey_alpha(image: Image.Image) -> bool:
    """Whether a picture that is not loaded yet has grey and alpha of 16 bits."""
    return _GREY_ALPHA in raw_modes(image)


def load_values(image: Image.Image, again: Image.Image) -> NDArray[np.uint16]:
    """Load such a picture, opened twice: uint16 [height, width, 3 or 4]."""
    if is_grey_alpha(image):  # four bytes a pixel: loaded as if they were RGBA
        _set_raw_modes(image, lambda mode: "RGBA")
        image.load()
        data = np.asarray(image).astype(np.uint16)
        grey, alpha = data[..., 0] << 8 | data[..., 1], data[..., 2] << 8 | data[..., 3]
        return np.stack([grey, grey, grey, alpha], axis=-1)
    little = getattr(getattr(image, "tag_v2", None), "prefix", b"MM") == b"II"
    for picture, high in ((image, True), (again, False)):
        _set_raw_modes(picture, lambda mode, high=high: _one_byte(mode, little, high))  # type: ignore[misc]
        picture.load()
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16)
    values <<= 8
    values |= np.asarray(again)
    return values


def correct_order(image: Image.Image) -> None:
    """Make a big-endian TIFF of signed or floating-point values load right where libtiff decompresses it.

    That gives native order, which Pillow reckons with for unsigned values alone.
    """
    if any(tile[0] == "libtiff" for tile in _tiles(image)) and raw_modes(image) & set(_BIG_ENDIAN):
        _set_raw_modes(image, lambda mode: _BIG_ENDIAN[mode])


def is_inverted(image: Image.Image) -> bool:
    """Whether it is a TIFF of 16-bit grey in which 0 is white: Pillow turns these round at 8 bits alone."""
    return image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(262) == 0


def keep_premultiplied(image: Image.Image) -> bool:
    """Make a TIFF with associated alpha load its colours as they are stored; whether it is one."""
    if not any(mode.startswith("RGBa") for mode in raw_modes(image)):
        return False
    _set_raw_modes(image, lambda mode: mode.replace("RGBa", "RGBA"))
    return True


def _one_byte(mode: str, little: bool, high: bool) -> str:
    """The raw mode under which the high or the low bytes of the values are kept."""
    if mode in _PLANES:
        mode = f"{mode};16{'L' if little else 'B'}"
    order = _NATIVE if mode[-1] == "N" else mode[-1]
    return mode[:-1] + (order if high else _OTHER[order])


def _tiles(image: Image.Image) -> list[Any]:
    return list(getattr(image, "tile", []))


def raw_modes(image: Image.Image) -> set[str]:
    """The raw modes that a picture will be decoded by; none once it is loaded."""
    arguments = (tile[3] for tile in _tiles(image))
    return {found for a in arguments if isinstance(found := a[0] if isinstance(a, (tuple, list)) else a, str)}


def _set_raw_modes(image: Any, chosen: Callable[[str], str]) -> None:
    tiles = []
    for tile in _tiles(image):
        old = tile[3]
        new = chosen(old) if isinstance(old, str) else (chosen(old[0]), *old[1:])
        tiles.append(tile._replace(args=new) if hasattr(tile, "_replace") else (*tile[:3], new))
    image.tile = tiles


def _bits(image: Image.Image) -> int:
    """Bits of a TIFF's first channel (tag 258)."""
    found = getattr(image, "tag_v2", {}).get(258, (1,))
    return int(found[0] if isinstance(found, tuple) else found)
