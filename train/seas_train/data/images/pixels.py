"""Makes upright 8-bit RGB of a decoded photograph, by the values of its product."""

from __future__ import annotations

from PIL import Image

from seas_runtime.photographs.conversion import rgb_image
from seas_runtime.photographs.decode import Opened
from seas_train.data.images.preprocessing import Preprocessing


def rgb_pixels(opened: Opened, preprocessing: Preprocessing) -> Image.Image:
    """Return the upright photograph as 8-bit RGB; see `rgb_image`."""
    return rgb_image(opened, preprocessing.values)
