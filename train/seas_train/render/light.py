"""Light on shapes: gradients, bevels, glossy arcs and lens falloff."""

import numpy as np
from numpy.typing import NDArray

from seas_train.render.shapes import Grid

Field = NDArray[np.float32]


def linear_gradient(grid: Grid, angle: float, strength: float) -> Field:
    """Multiplier about 1, brighter towards `angle` radians by `strength` (0..1) at the border."""
    x, y = grid
    slope = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    return np.asarray(1.0 + np.float32(strength) * slope, dtype=np.float32)


def vignette(grid: Grid, strength: float) -> Field:
    """Multiplier 1 in the middle that falls to `1 - strength` in the corners."""
    x, y = grid
    return np.asarray(1.0 - np.float32(strength / 2) * (x * x + y * y), dtype=np.float32)


def bevel(distance: Field, angle: float, width: float) -> Field:
    """Light on a rounded edge: -1..1, positive where the edge faces the light at `angle` radians.

    Args:
        distance: signed distance `[H, W]` of the shape, in grid units.
        angle: where the light comes from; 0 is right, pi/2 is below.
        width: how far inside the edge the rounding reaches, in grid units.
    """
    pixel = 2.0 / min(distance.shape)
    slope_y, slope_x = np.gradient(distance, np.float32(pixel))
    facing = np.float32(np.cos(angle)) * slope_x + np.float32(np.sin(angle)) * slope_y
    depth = np.clip(1.0 + distance / np.float32(width), 0, 1) * (distance <= 0)
    return np.asarray(facing * depth, dtype=np.float32)


def specular_arc(radius: Field, angle: Field, at: float, width: float, centre: float, span: float) -> Field:
    """A glossy highlight along part of a ring, 0..1 with soft ends.

    Args:
        radius: polar radius `[H, W]`, grid units.
        angle: polar angle `[H, W]`, radians.
        at: radius of the highlight's middle.
        width: its thickness (standard deviation), grid units.
        centre: its middle angle, radians.
        span: its half-length (standard deviation), radians.
    """
    across = (radius - np.float32(at)) / np.float32(width)
    turned = (angle - np.float32(centre) + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)
    along = turned / np.float32(span)
    return np.asarray(np.exp(-0.5 * across * across - 0.5 * (along * along) ** 2), dtype=np.float32)
