"""Photographs and shapes whose parts and places are known."""

from __future__ import annotations

import numpy as np

from seas_runtime.placement.masks.shapes import Shape


def plate(
    height: int = 240, width: int = 320, box: tuple[int, int, int, int] = (40, 60, 200, 260), seed: int = 0
) -> np.ndarray:
    """A dark plate with a bright hole on bright ground, with noise: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    picture = random.normal(200, 4, (height, width, 3))
    top, left, bottom, right = box
    picture[top:bottom, left:right] = random.normal(60, 8, (bottom - top, right - left, 3))
    middle = (top + bottom) // 2, (left + right) // 2
    picture[middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8] = 200
    return np.clip(picture, 0, 255).astype(np.uint8)


def disc(radius: int) -> np.ndarray:
    """A disc [2 radius + 1, 2 radius + 1], bool."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2


def shape(
    mask: np.ndarray | None = None,
    photograph: tuple[int, int] = (240, 320),
    spot: tuple[float, float] = (0.25, 0.75),
    inside: float = 1.0,
) -> Shape:
    return Shape(disc(10) if mask is None else mask, photograph, spot, inside)
