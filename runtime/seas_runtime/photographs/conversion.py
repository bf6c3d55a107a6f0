"""Makes upright 8-bit RGB of a decoded picture: its window, its transparency, its colour space."""

from __future__ import annotations

import numpy as np
from PIL import Image

from seas_runtime.photographs.decode import Opened, UnreadableImage
from seas_runtime.photographs.values import Values, over_white, scaled


def rgb_image(opened: Opened, values: Values) -> Image.Image:
    """Return the upright picture as 8-bit RGB.

    Transparency is laid over white, unless alpha is the same everywhere: then it says nothing, and is
    ignored.
    """
    if opened.is_wide:
        wide = opened.wide_values()
        low, high = values.range(wide.dtype)
        alpha = wide[..., 3] >> 8 if wide.ndim == 3 and wide.shape[2] == 4 else None  # type: ignore[operator]
        colour = scaled(wide if wide.ndim == 2 else wide[..., :3], low, high)
        image = Image.fromarray(over_white(colour, alpha, opened.premultiplied))
    else:
        image = _rgb(opened)
        window = values.window
        if window is not None and window[1] <= 255:
            image = Image.fromarray(scaled(np.asarray(image), *window))
    return opened.upright(image.convert("RGB"))


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture may be transparent anywhere."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def lab_to_rgb(opened: Opened) -> Image.Image:
    """Convert CIE L*a*b* (of TIFF), which Pillow does by colour management alone."""
    try:
        from PIL import ImageCms

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        made = ImageCms.profileToProfile(opened.stored, lab, rgb, outputMode="RGB")
    except Exception as error:  # a Pillow without LittleCMS
        reason = f"has L*a*b* colour, which cannot be converted here ({error}); save it as RGB"
        raise UnreadableImage(opened.path, reason) from error
    return made if made is not None else opened.stored


def _rgb(opened: Opened) -> Image.Image:
    image = opened.stored
    if image.mode == "LAB":
        return lab_to_rgb(opened)
    if not has_alpha(image):
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    low, high = rgba.getchannel("A").getextrema()
    if low == high:
        return rgba.convert("RGB")
    if opened.premultiplied:
        data = np.asarray(rgba)
        return Image.fromarray(over_white(data[..., :3], data[..., 3], True))
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
