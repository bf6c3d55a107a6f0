"""Smooth one-dimensional profiles: what turns a distance, a radius or an angle into shade.

Widths are in the value's own units, not in pixels, so a drawing made of these is the same at every size.
"""

import numpy as np

from seas_train.render.colour import Colour
from seas_train.render.finish import Field, ImageArray


def smooth_step(value: Field, edge: Field | float, width: float) -> Field:
    """0 below `edge`, 1 above it, 0.5 on it; the rise is a cubic over `width`."""
    t = np.clip((value - edge) / np.float32(width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def bump(value: Field, at: float, width: float) -> Field:
    """1 at `at`, falling off as a bell to 1/e at a distance of `width`."""
    return np.asarray(np.exp(-(((value - np.float32(at)) / np.float32(width)) ** 2)), dtype=np.float32)


def ramp(low: Colour, middle: Colour, high: Colour, shade: Field) -> ImageArray:
    """Colours `[H, W, 3]` from `low` over `middle` to `high` (each `[3]`) as `shade` `[H, W]` goes 0..1."""
    up = np.clip(2 * shade, 0, 1)[..., None]
    down = np.clip(2 * shade - 1, 0, 1)[..., None]
    return np.asarray(low + (middle - low) * up + (high - middle) * down, dtype=np.float32)


def turn(angle: Field, about: float) -> Field:
    """`angle` seen from the direction `about`, both radians, wrapped to -pi..pi."""
    full = np.float32(2 * np.pi)
    away = angle - np.float32(about)
    return np.asarray(away - full * np.round(away / full), dtype=np.float32)
