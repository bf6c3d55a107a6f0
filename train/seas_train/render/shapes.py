"""Signed distances to shapes, and their anti-aliased coverage.

A signed distance is negative inside a shape, zero on its edge and positive outside, in grid units.
"""

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Grid = tuple[Field, Field]


def make_grid(size: int) -> Grid:
    """Coordinates `(x, y)`, each float32 `[size, size]`, of pixel centres in -1..1; x right, y down."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def rotate(grid: Grid, angle: float, centre: tuple[float, float] = (0.0, 0.0)) -> Grid:
    """The grid in a frame turned by `angle` radians about `centre`, which becomes the origin."""
    x, y = grid[0] - np.float32(centre[0]), grid[1] - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def polar(grid: Grid, centre: tuple[float, float] = (0.0, 0.0)) -> Grid:
    """Radius (0..) and angle (-pi..pi) of every pixel about `centre`."""
    x, y = grid[0] - np.float32(centre[0]), grid[1] - np.float32(centre[1])
    return np.hypot(x, y), np.arctan2(y, x)


def circle(grid: Grid, radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Field:
    """Signed distance to a disc."""
    return np.asarray(polar(grid, centre)[0] - np.float32(radius), dtype=np.float32)


def ring(grid: Grid, radius: float, width: float, centre: tuple[float, float] = (0.0, 0.0)) -> Field:
    """Signed distance to a band of full `width` about the circle of `radius`."""
    return np.asarray(np.abs(circle(grid, radius, centre)) - np.float32(width / 2), dtype=np.float32)


def box(grid: Grid, half_width: float, half_height: float, corner: float = 0.0) -> Field:
    """Signed distance to an upright rectangle about the origin, corners rounded with radius `corner`."""
    x = np.abs(grid[0]) - np.float32(half_width - corner)
    y = np.abs(grid[1]) - np.float32(half_height - corner)
    outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
    return np.asarray(outside + np.minimum(np.maximum(x, y), 0) - np.float32(corner), dtype=np.float32)


def capsule(grid: Grid, half_length: float, radius: float) -> Field:
    """Signed distance to a capsule lying along x about the origin."""
    x = np.maximum(np.abs(grid[0]) - np.float32(half_length), 0)
    return np.asarray(np.hypot(x, grid[1]) - np.float32(radius), dtype=np.float32)


def star(grid: Grid, radius: float, points: int, depth: float, sharpness: float = 2.0) -> Field:
    """Approximate signed distance to a gear, knob or flower: a disc whose edge waves `points` times.

    Args:
        grid: coordinates.
        radius: mean radius.
        points: teeth around the edge.
        depth: half the height of a tooth.
        sharpness: 1 is a sine, more is squarer.
    """
    r, angle = polar(grid)
    wave = np.tanh(sharpness * np.sin(points * angle)) / np.tanh(sharpness)
    return np.asarray(r - np.float32(radius) - np.float32(depth) * wave, dtype=np.float32)


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """Share of each pixel that a shape covers, 0..1.

    Args:
        distance: signed distance `[H, W]`.
        softness: width of the edge in pixels; 1 is anti-aliasing, more is out of focus.
    """
    pixel = 2.0 / min(distance.shape)
    return np.asarray(
        np.clip(0.5 - distance / np.float32(pixel * max(softness, 1e-3)), 0, 1), dtype=np.float32
    )
