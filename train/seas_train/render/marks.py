"""Marks left on a surface, as masks 0..1: threads, scratches, cracks, stains and blobs."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from seas_train.render.noise import fractal_noise, value_noise
from seas_train.render.shapes import Grid, coverage, make_grid, polar

Field = NDArray[np.float32]
Points = NDArray[np.float32]

# Lines are drawn at this many times the size and averaged down: Pillow's own lines are not anti-aliased.
_SUPERSAMPLE = 2


def _draw_polyline(size: int, points: Points, width: float) -> Field:
    """Polyline through `points` `[N, 2]` (x, y in -1..1), `width` in pixels, as a mask `[size, size]`."""
    large = size * _SUPERSAMPLE
    image = Image.new("L", (large, large), 0)
    xy = [((float(x) + 1) / 2 * large, (float(y) + 1) / 2 * large) for x, y in points]
    ImageDraw.Draw(image).line(xy, fill=255, width=max(1, round(width * _SUPERSAMPLE)), joint="curve")
    mask = np.asarray(image.reduce(_SUPERSAMPLE), dtype=np.float32) / np.float32(255)
    return np.asarray(mask, dtype=np.float32)


def _bend(points: Points, samples: int = 48) -> Points:
    """Catmull-Rom curve through control `points` `[N, 2]`, as `[samples, 2]`."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, len(points) - 1 - 1e-4, samples)
    i = t.astype(int)
    u = (t - i)[:, None]
    a, b, c, d = padded[i], padded[i + 1], padded[i + 2], padded[i + 3]
    cubic = 2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3
    return np.asarray(0.5 * cubic, dtype=np.float32)


def _walk(
    rng: np.random.Generator, centre: tuple[float, float], length: float, turn: float, steps: int
) -> Points:
    """Random walk about `centre`: `steps` points, `length` in all, up to `turn` radians a step."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.uniform(-turn, turn, steps))
    stride = (length / steps) * np.stack([np.cos(heading), np.sin(heading)], 1)
    path = np.cumsum(stride, 0)
    return np.asarray(path - path.mean(0) + np.asarray(centre), dtype=np.float32)


def curve(
    rng: np.random.Generator,
    size: int,
    centre: tuple[float, float],
    length: float,
    width: float,
    turn: float = 0.9,
) -> Field:
    """A thread, fibre or hair: a smooth curve of `length` (grid units) and `width` (pixels)."""
    return _draw_polyline(size, _bend(_walk(rng, centre, length, turn, 6)), width)


def scratch(
    rng: np.random.Generator, size: int, centre: tuple[float, float], length: float, width: float
) -> Field:
    """An almost straight scratch that fades in and out along its way."""
    line = _draw_polyline(size, _bend(_walk(rng, centre, length, 0.12, 5)), width)
    fade = np.clip(0.75 + 0.6 * value_noise(rng, size, 12), 0.15, 1)
    return np.asarray(line * fade, dtype=np.float32)


def crack(
    rng: np.random.Generator, size: int, centre: tuple[float, float], length: float, width: float
) -> Field:
    """A jagged crack with up to three thinner branches."""
    spine = _walk(rng, centre, length, 0.8, 14)
    mask = _draw_polyline(size, spine, width)
    for _ in range(int(rng.integers(0, 4))):
        start = spine[int(rng.integers(2, 12))]
        branch = _walk(rng, (0.0, 0.0), length * 0.35, 0.8, 7)
        mask = np.maximum(mask, _draw_polyline(size, branch - branch[0] + start, max(1.0, width * 0.6)))
    return mask


def blob(
    rng: np.random.Generator,
    size: int,
    centre: tuple[float, float],
    radius: float,
    roughness: float = 0.35,
    softness: float = 1.5,
    grid: Grid | None = None,
) -> Field:
    """An irregular patch: a disc of `radius` (grid units) whose edge wanders by `roughness` of the radius.

    `softness` is the width of its edge in pixels. `grid` saves making one for every blob of an image.
    """
    r, angle = polar(grid if grid is not None else make_grid(size), centre)
    edge = np.ones_like(r)
    for wave in range(2, 7):
        phase = rng.uniform(0, 2 * np.pi)
        edge += np.float32(roughness * rng.uniform(0.3, 1.0) / wave) * np.sin(
            wave * angle + np.float32(phase)
        )
    return coverage(np.asarray(r - np.float32(radius) * edge, dtype=np.float32), softness)


def stain(
    rng: np.random.Generator, size: int, centre: tuple[float, float], radius: float, grid: Grid | None = None
) -> Field:
    """A soft, uneven stain: a blob whose strength varies as a cloud does."""
    patch = blob(rng, size, centre, radius, 0.5, rng.uniform(2, 14), grid)
    cloud = np.clip(0.8 + 0.35 * fractal_noise(rng, size, 8, 3), 0, 1)
    return np.asarray(patch * cloud, dtype=np.float32)
