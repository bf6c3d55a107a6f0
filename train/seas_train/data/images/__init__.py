"""Photographs as factories save them, decoded, made 8-bit RGB, and fitted to one square."""

from seas_runtime.photographs.decode import Opened, UnreadableImage, open_image
from seas_runtime.photographs.quiet import quiet_decoders
from seas_train.data.images.fit import crop_box, fit_image, read_image
from seas_train.data.images.pixels import rgb_pixels
from seas_train.data.images.preprocessing import (
    BIT_DEPTHS,
    AutoFit,
    Fit,
    Masks,
    Preprocessing,
    Resize,
    Window,
)

__all__ = [
    "BIT_DEPTHS",
    "AutoFit",
    "Fit",
    "Masks",
    "Opened",
    "Preprocessing",
    "Resize",
    "UnreadableImage",
    "Window",
    "crop_box",
    "fit_image",
    "open_image",
    "quiet_decoders",
    "read_image",
    "rgb_pixels",
]
