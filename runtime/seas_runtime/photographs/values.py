"""Between a photograph's own values, of 8 or 16 bits, and the 8-bit RGB that a base was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe

BIT_DEPTHS = (8, 10, 12, 14, 16)  # of sensors that store into 16-bit files
GREY = (0.299, 0.587, 0.114)  # of R, G, B: Rec. 601's luma, as Pillow's mode L has it

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""[H, W] grey, [H, W, 2] grey and alpha, [H, W, 3] RGB or [H, W, 4] RGBA, uint8 or uint16."""
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Values:
    """Which of a product's values are black and white in 8 bits. Raises UserError for values that cannot be.

    bit_depth: of the values in files of 16 bits: 12 where a camera's end at 4095.
    window: the values of the files that become 0 and 255; None for the whole range. Files of 8 bits stay as
        they are where it ends above 255.
    """

    bit_depth: int = 16
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bit_depth not in BIT_DEPTHS:
            raise UserError(f"bit depth: expected one of {BIT_DEPTHS}, found {self.bit_depth}")
        if self.window is not None and not -math.inf < self.window[0] < self.window[1] < math.inf:
            raise UserError(f"window: expected a lower and a higher value, found {list(self.window)}")

    @classmethod
    def of(cls, preprocessing: Mapping[str, Any]) -> Values:
        """Return those of a manifest's `preprocessing`; UserError for what is none."""
        depth, window = preprocessing.get("bit_depth", 16), preprocessing.get("window")
        if isinstance(depth, bool) or not isinstance(depth, int):
            raise UserError(
                f"preprocessing: bit_depth: expected one of {BIT_DEPTHS}, found {describe(depth)}"
            )
        if window is None:
            return cls(depth)
        numbers = isinstance(window, (list, tuple)) and len(window) == 2
        if not numbers or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in window):
            raise UserError(f"preprocessing: window: expected two numbers, found {describe(window)}")
        return cls(depth, (float(window[0]), float(window[1])))

    def to_rgb8(self, pixels: Pixels, opaque: bool | None = None) -> UInt8Array:
        """Return 8-bit RGB [H, W, 3] as training saw a photograph.

        Transparency is laid over white, unless alpha is the same everywhere: then it says nothing.
        `opaque` says so of the photograph that these pixels are a part of; None goes by the pixels.
        """
        colour, alpha = split_alpha(pixels)
        if alpha is not None and (alpha_says_nothing(alpha) if opaque is None else opaque):
            alpha = None
        if pixels.dtype == np.uint16:
            made = scaled(colour, *self.range(np.dtype(np.uint16)))
            return _three(made if alpha is None else over_white(made, alpha >> 8))
        made = _three(colour)
        if alpha is not None:
            from PIL import Image

            picture = Image.fromarray(np.dstack([made, alpha]))
            white = Image.new("RGBA", picture.size, "white")
            made = np.asarray(Image.alpha_composite(white, picture).convert("RGB"))
        return scaled(made, *self.window) if self._narrows_8_bits() and self.window else made

    def from_rgb8(self, rgb: npt.NDArray[Any], like: Pixels, opaque: bool | None = None) -> Pixels:
        """Return RGB [H, W, 3], 0 to 255, in the values and channels of `like` [H, W(, C)]: what `to_rgb8`
        makes `rgb` of, as far as these hold it.

        Grey is the mean by Rec. 601; alpha is that of `like`. `opaque` is as in `to_rgb8`.
        """
        colour, alpha = split_alpha(like)
        made = rgb.astype(np.float32)
        if colour.ndim == 2:
            made = made @ np.array(GREY, np.float32)
        narrowed = like.dtype == np.uint16 or self._narrows_8_bits()
        if alpha is not None and not (alpha_says_nothing(alpha) if opaque is None else opaque):
            made = self._off_white(made, alpha, like.dtype)
        if narrowed:
            low, high = self.range(like.dtype)
            made = low + made * ((high - low) / 255)
        return _with_alpha(np.clip(np.rint(made), 0, np.iinfo(like.dtype).max).astype(like.dtype), alpha)

    def range(self, dtype: np.dtype[Any]) -> tuple[float, float]:
        """Return the values of files of this type, uint8, uint16, int32 or float32, that become 0 and 255."""
        if dtype == np.uint8:
            return self.window if self._narrows_8_bits() and self.window else (0.0, 255.0)
        if self.window is not None:
            return self.window
        return (0.0, 1.0) if dtype == np.float32 else (0.0, 2.0**self.bit_depth - 1)

    def _narrows_8_bits(self) -> bool:
        return self.window is not None and self.window[1] <= 255

    def _off_white(self, made: npt.NDArray[Any], alpha: Pixels, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return the paint that gives `made` over white; what is fully transparent stays as it is."""
        if dtype == np.uint8 and self._narrows_8_bits() and self.window:
            return made  # the window came after white: no paint is sure to give it
        share = (alpha.astype(np.float32) / np.iinfo(dtype).max)[(...,) + (None,) * (made.ndim - 2)]
        return np.where(share > 0, 255 - (255 - made) / np.maximum(share, 1e-3), made)


def split_alpha(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """Return colour [H, W] or [H, W, 3], and alpha [H, W] where there is one."""
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels, None
    return (pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]), pixels[..., -1]


def alpha_says_nothing(alpha: npt.NDArray[Any]) -> bool:
    """Whether alpha is the same everywhere, in the 8 bits that are looked at."""
    eight = alpha >> 8 if alpha.dtype == np.uint16 else alpha
    return bool(eight.min() == eight.max())


def scaled(values: npt.NDArray[Any], low: float, high: float) -> UInt8Array:
    """Scale values so that `low` becomes 0 and `high` 255; what lies outside is cut."""
    factor = 255.0 / (high - low)
    if values.dtype in (np.uint8, np.uint16):  # looked up: a quarter of the time
        table = np.arange(256 if values.dtype == np.uint8 else 65536, dtype=np.float64)
        table = np.clip(np.rint((table - low) * factor), 0, 255)
        return np.asarray(table.astype(np.uint8)[values])
    return np.clip(np.rint((values.astype(np.float64) - low) * factor), 0, 255).astype(np.uint8)


def over_white(colour: UInt8Array, alpha: npt.NDArray[Any] | None, premultiplied: bool = False) -> UInt8Array:
    """Lay [H, W, 3], or grey [H, W], over white by alpha [H, W], 0 to 255; without an alpha that says
    anything, it is as it is."""
    if alpha is None or alpha.min() == alpha.max():
        return colour
    opaque = alpha.astype(np.float32)[(...,) + (None,) * (colour.ndim - 2)] / 255
    paint = colour.astype(np.float32) * (1 if premultiplied else opaque)
    return np.clip(np.rint(paint + 255 * (1 - opaque)), 0, 255).astype(np.uint8)


def _with_alpha(colour: Any, alpha: Pixels | None) -> Pixels:
    made: Pixels = colour if alpha is None else np.dstack([colour, alpha])
    return made


def _three(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values
