"""Random colours, float32 `[3]` in 0..1."""

import colorsys

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float32]


def random_colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.1, 0.9),
    value: tuple[float, float] = (0.1, 0.95),
    hue: tuple[float, float] = (0.0, 1.0),
) -> Colour:
    """A colour with hue, saturation and value drawn uniformly from the given ranges (0..1, hue wraps)."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return np.asarray(rgb, np.float32)


def near_grey(
    rng: np.random.Generator, value: tuple[float, float] = (0.1, 0.95), tint: float = 0.04
) -> Colour:
    """A grey of the given range of values, each channel off by up to `tint`."""
    grey = rng.uniform(*value) + rng.uniform(-tint, tint, 3)
    return np.clip(grey, 0, 1).astype(np.float32)


def jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """`colour` brightened or darkened by up to `amount` as a whole, and by a quarter of that per channel."""
    moved = colour + rng.uniform(-amount, amount) + rng.uniform(-amount, amount, 3) / 4
    return np.clip(moved, 0, 1).astype(np.float32)
