"""Flat surfaces that fill the frame: metal, wood, leather, cloth, tiles, mesh, concrete and the like."""

from collections.abc import Callable

import numpy as np

from seas_train.bases.micro.world.canvas import Canvas, Field, ImageArray, Painting
from seas_train.render import (
    blur,
    box,
    coverage,
    fractal_noise,
    jitter,
    linear_gradient,
    near_grey,
    over,
    random_colour,
    rotate,
    streaks,
    value_noise,
)

Colour = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def _tinted(colour: Colour, field: Field, amount: float) -> ImageArray:
    """`colour` modulated by a zero-mean field `[H, W]`, as an image."""
    return np.asarray(colour * (1 + np.float32(amount) * field[..., None]), dtype=np.float32)


def _everywhere(canvas: Canvas) -> Field:
    return np.ones((canvas.size, canvas.size), np.float32)


def brushed_metal(canvas: Canvas) -> Painting:
    """Steel or brass brushed in one direction."""
    rng = canvas.rng
    field = streaks(rng, canvas.size, canvas.between(0.3, 1.0), canvas.between(0.2, 1.0))
    if canvas.chance(0.5):
        field = field.T
    colour = (
        near_grey(rng, (0.25, 0.8))
        if canvas.chance(0.75)
        else random_colour(rng, (0.2, 0.5), (0.4, 0.8), (0.05, 0.14))
    )
    return Painting(
        _tinted(colour, field, canvas.between(0.04, 0.16)), "brushed metal surface", _everywhere(canvas)
    )


def ceramic_tile(canvas: Canvas) -> Painting:
    """Grey ground ceramic: vertical grinding marks, uneven light, often a dark border beside it."""
    rng, size = canvas.rng, canvas.size
    field = 0.7 * streaks(rng, size, canvas.between(0.3, 1.0), canvas.between(0.3, 1.0))
    field += canvas.between(0.1, 0.9) * fractal_noise(rng, size, 3, 3, stretch=canvas.between(0.2, 1.0))
    image = _tinted(near_grey(rng, (0.2, 0.6), 0.0), field, canvas.between(0.04, 0.14))
    image += np.float32(canvas.between(0.0, 0.03)) * rng.standard_normal((size, size, 1), dtype=np.float32)
    if canvas.chance(0.6):
        x, y = canvas.grid
        along = x if canvas.chance(0.7) else y
        edge = np.float32(canvas.between(0.6, 1.0)) + np.float32(0.01) * value_noise(rng, size, 6)
        sides = (
            -along - edge
            if canvas.chance(0.3)
            else np.abs(along) - edge
            if canvas.chance(0.5)
            else along - edge
        )
        border = coverage(-sides, canvas.between(2, 12))
        image = over(image, near_grey(rng, (0.0, 0.12), 0.0), border)
    return Painting(image, "grey ceramic tile", _everywhere(canvas))


def wood(canvas: Canvas) -> Painting:
    """Growth rings and fine grain."""
    rng, size = canvas.rng, canvas.size
    warp = fractal_noise(rng, size, 2, 3, stretch=0.15)
    x, _ = canvas.grid
    rings = np.sin(x * np.float32(canvas.between(8, 40)) + warp * np.float32(canvas.between(0.5, 2.5)))
    grain = streaks(rng, size, canvas.between(0.5, 1.0), canvas.between(0.15, 0.5))
    colour = random_colour(rng, (0.3, 0.65), (0.35, 0.85), (0.05, 0.11))
    field = 0.6 * rings + 0.5 * grain
    if canvas.chance(0.4):
        field = field.T
    return Painting(_tinted(colour, field, canvas.between(0.06, 0.18)), "wood surface", _everywhere(canvas))


def leather(canvas: Canvas) -> Painting:
    """Pores and folds, lit from one side."""
    rng, size = canvas.rng, canvas.size
    bumps = fractal_noise(rng, size, canvas.between(20, 60), 2)
    folds = 1 - np.abs(fractal_noise(rng, size, canvas.between(12, 30), 2))
    light = np.gradient(blur(bumps, 0.8), axis=0) + np.gradient(folds, axis=1) * np.float32(0.5)
    field = np.asarray(light / (light.std() + 1e-6), dtype=np.float32)
    colour = random_colour(rng, (0.1, 0.7), (0.12, 0.6), (0.98, 1.12))
    return Painting(_tinted(colour, field, canvas.between(0.06, 0.2)), "leather surface", _everywhere(canvas))


def fabric(canvas: Canvas) -> Painting:
    """A weave of warp and weft, each with its own colour."""
    rng, size = canvas.rng, canvas.size
    x, y = rotate(canvas.grid, canvas.between(0, 0.8) if canvas.chance(0.5) else 0.0)
    waves = np.float32(canvas.between(25, 130))
    warp, weft = np.sin(x * waves), np.sin(y * waves)
    over_under = np.sign(np.sin(x * waves / 2) * np.sin(y * waves / 2))
    mix = np.clip(0.5 + 0.5 * over_under, 0, 1).astype(np.float32)
    first = random_colour(rng, (0.0, 0.7), (0.2, 0.9))
    second = jitter(rng, first, 0.3)
    height = np.asarray(mix * np.abs(warp) + (1 - mix) * np.abs(weft), dtype=np.float32)
    image = over(canvas.flat(first), second, mix) * (0.6 + 0.45 * height[..., None])
    field = fractal_noise(rng, size, 6, 3)
    return Painting(
        np.asarray(image * (1 + 0.05 * field[..., None]), np.float32), "woven fabric", _everywhere(canvas)
    )


def carpet(canvas: Canvas) -> Painting:
    """Coarse pile."""
    rng, size = canvas.rng, canvas.size
    field = fractal_noise(rng, size, 90, 2) + 0.4 * fractal_noise(rng, size, 12, 2)
    colour = near_grey(rng, (0.2, 0.6)) if canvas.chance(0.6) else random_colour(rng, (0.2, 0.7), (0.2, 0.7))
    return Painting(_tinted(colour, field, canvas.between(0.12, 0.3)), "carpet", _everywhere(canvas))


def tiles(canvas: Canvas) -> Painting:
    """Square tiles with grout, each a shade of its own."""
    rng, size = canvas.rng, canvas.size
    count = int(rng.integers(2, 7))
    x, y = rotate(canvas.grid, canvas.between(-0.15, 0.15))
    column, row = (x + 2) * (count / 2), (y + 2) * (count / 2)
    shades = rng.uniform(-0.12, 0.12, (40, 40)).astype(np.float32)
    shade = shades[row.astype(int) % 40, column.astype(int) % 40]
    inside = box((column % 1 - np.float32(0.5), row % 1 - np.float32(0.5)), 0.46, 0.46, 0.04) * np.float32(
        2 / count
    )
    colour = random_colour(rng, (0.0, 0.6), (0.3, 0.9))
    speckle = fractal_noise(rng, size, canvas.between(8, 50), 3) * np.float32(canvas.between(0.0, 0.12))
    face = np.asarray(colour * (1 + shade + speckle)[..., None], np.float32)
    image = over(canvas.flat(near_grey(rng, (0.15, 0.85))), face, coverage(inside, 2))
    return Painting(image, "tile wall", _everywhere(canvas))


def mesh(canvas: Canvas) -> Painting:
    """Crossing wires over a dark or light ground."""
    rng = canvas.rng
    x, y = rotate(canvas.grid, canvas.between(0, np.pi / 2))
    pitch = canvas.between(0.12, 0.4)
    thickness = pitch * canvas.between(0.15, 0.4)
    wire = near_grey(rng, (0.4, 0.95), 0.03)
    image = canvas.flat(near_grey(rng, (0.02, 0.35) if canvas.chance(0.6) else (0.75, 1.0)))
    for axis in (x, y):
        distance = np.abs((axis + 4) % np.float32(pitch) - np.float32(pitch / 2))
        round_ = np.sqrt(np.clip(1 - (distance / np.float32(thickness / 2)) ** 2, 0, 1))
        layer = np.asarray(wire * (0.35 + 0.65 * round_[..., None]), np.float32)
        image = over(image, layer, coverage(np.asarray(distance - thickness / 2, np.float32)))
    return Painting(image, "metal grid", _everywhere(canvas))


def concrete(canvas: Canvas) -> Painting:
    """Grey, cloudy and pitted."""
    rng, size = canvas.rng, canvas.size
    field = fractal_noise(rng, size, canvas.between(3, 12), 6, canvas.between(0.5, 0.8))
    pits = np.clip(fractal_noise(rng, size, 40, 2) - 2.0, 0, 1)
    image = _tinted(near_grey(rng, (0.35, 0.8)), field, canvas.between(0.04, 0.12)) * (
        1 - 0.6 * pits[..., None]
    )
    return Painting(np.asarray(image, np.float32), "concrete surface", _everywhere(canvas))


def plastic(canvas: Canvas) -> Painting:
    """One colour, almost smooth."""
    rng, size = canvas.rng, canvas.size
    field = value_noise(rng, size, 80) * np.float32(canvas.between(0, 0.05)) + value_noise(
        rng, size, 2
    ) * np.float32(0.08)
    colour = random_colour(rng, (0.0, 0.9), (0.1, 0.95))
    return Painting(
        _tinted(colour, np.asarray(field, np.float32), 1.0), "plastic surface", _everywhere(canvas)
    )


def gradient(canvas: Canvas) -> Painting:
    """Smooth paint from one colour to another."""
    rng = canvas.rng
    ramp = np.clip(linear_gradient(canvas.grid, canvas.between(0, 2 * np.pi), 0.7) / 2, 0, 1)
    image = over(canvas.flat(random_colour(rng)), random_colour(rng), np.asarray(ramp, np.float32))
    return Painting(image, "painted surface", _everywhere(canvas))


def stone(canvas: Canvas) -> Painting:
    """Speckled granite, or marble with veins."""
    rng, size = canvas.rng, canvas.size
    colour = random_colour(rng, (0.0, 0.25), (0.2, 0.9))
    if canvas.chance(0.5):
        field = fractal_noise(rng, size, canvas.between(25, 70), 3, 0.8)
        return Painting(
            _tinted(colour, field, canvas.between(0.1, 0.35)), "granite surface", _everywhere(canvas)
        )
    veins = np.exp(-np.abs(fractal_noise(rng, size, 3, 5)) * np.float32(canvas.between(4, 14)))
    image = over(
        _tinted(colour, fractal_noise(rng, size, 4, 3), 0.06),
        jitter(rng, colour, 0.5),
        np.asarray(veins, np.float32),
    )
    return Painting(image, "marble surface", _everywhere(canvas))


SURFACES: dict[str, Callable[[Canvas], Painting]] = {
    "brushed_metal": brushed_metal,
    "ceramic_tile": ceramic_tile,
    "wood": wood,
    "leather": leather,
    "fabric": fabric,
    "carpet": carpet,
    "tiles": tiles,
    "mesh": mesh,
    "concrete": concrete,
    "plastic": plastic,
    "gradient": gradient,
    "stone": stone,
}
