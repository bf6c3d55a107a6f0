"""Makes upright 8-bit RGB of a decoded photograph: its window, its transparency, its colour space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_train.data.images.decode import Opened, UnreadableImage
from seas_train.data.images.preprocessing import Preprocessing

Range = tuple[float, float]


def rgb_pixels(opened: Opened, preprocessing: Preprocessing) -> Image.Image:
    """Return the upright photograph as 8-bit RGB.

    Transparency is laid over white, unless alpha is the same everywhere: then it says nothing, and is
    ignored.
    """
    if opened.is_wide:
        values = opened.wide_values()
        low, high = value_range(values, preprocessing)
        alpha = values[..., 3] >> 8 if values.ndim == 3 and values.shape[2] == 4 else None  # type: ignore[operator]
        colour = scaled(values if values.ndim == 2 else values[..., :3], low, high)
        image = _over_white(colour, alpha, opened.premultiplied)
    else:
        image = _rgb(opened)
        window = preprocessing.window
        if window is not None and window[1] <= 255:
            image = Image.fromarray(scaled(np.asarray(image), *window))
    return opened.upright(image.convert("RGB"))


def value_range(values: NDArray[np.generic], preprocessing: Preprocessing) -> Range:
    """Return the values that become 0 and 255 in a picture of more than 8 bits."""
    if preprocessing.window is not None:
        return preprocessing.window
    return (0.0, 1.0) if values.dtype == np.float32 else (0.0, 2.0**preprocessing.bit_depth - 1)


def scaled(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Scale values so that `low` becomes 0 and `high` 255; what lies outside is cut."""
    table_size = 65536
    factor = 255.0 / (high - low)
    if values.dtype in (np.uint8, np.uint16):  # looked up: a quarter of the time
        table = np.arange(256 if values.dtype == np.uint8 else table_size, dtype=np.float64)
        table = np.clip(np.rint((table - low) * factor), 0, 255)
        return np.asarray(table.astype(np.uint8)[values])
    return np.clip(np.rint((values.astype(np.float64) - low) * factor), 0, 255).astype(np.uint8)


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture may be transparent anywhere."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _rgb(opened: Opened) -> Image.Image:
    image = opened.stored
    if image.mode == "LAB":
        return _from_lab(opened)
    if not has_alpha(image):
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    low, high = rgba.getchannel("A").getextrema()
    if low == high:
        return rgba.convert("RGB")
    if opened.premultiplied:
        data = np.asarray(rgba)
        return _over_white(data[..., :3], data[..., 3], True)
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _over_white(
    colour: NDArray[np.uint8], alpha: NDArray[np.generic] | None, premultiplied: bool
) -> Image.Image:
    """Lay [height, width, 3] (or grey without alpha) over white; alpha is 0 to 255."""
    if alpha is None or alpha.min() == alpha.max():
        return Image.fromarray(colour)
    opaque = alpha.astype(np.float32)[..., None] / 255
    paint = colour.astype(np.float32) * (1 if premultiplied else opaque)
    return Image.fromarray(np.clip(np.rint(paint + 255 * (1 - opaque)), 0, 255).astype(np.uint8))


def _from_lab(opened: Opened) -> Image.Image:
    """Convert CIE L*a*b* (of TIFF), which Pillow does by colour management alone."""
    try:
        from PIL import ImageCms

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        made = ImageCms.profileToProfile(opened.stored, lab, rgb, outputMode="RGB")
    except Exception as error:  # a Pillow without LittleCMS
        reason = f"has L*a*b* colour, which cannot be converted here ({error}); save it as RGB"
        raise UnreadableImage(opened.path, reason) from error
    return made if made is not None else opened.stored
