"""Smooth random fields, made by enlarging small random grids."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]


def resize_field(field: Field, height: int, width: int) -> Field:
    """Resize a field `[h, w]` to `[height, width]` with bicubic interpolation."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def value_noise(rng: np.random.Generator, size: int, cells: float, stretch: float = 1.0) -> Field:
    """One octave of noise.

    Args:
        rng: source of randomness.
        size: height and width in pixels.
        cells: random cells across the image; more is finer.
        stretch: how many times longer than wide the cells are, along y (below 1: along x).

    Returns:
        float32 `[size, size]`, about zero mean, values about -1..1.
    """
    root = float(np.sqrt(stretch))
    rows = int(np.clip(round(cells / root), 2, size))
    columns = int(np.clip(round(cells * root), 2, size))
    grid = rng.uniform(-1.0, 1.0, (rows + 2, columns + 2)).astype(np.float32)
    margin_y, margin_x = size // rows + 1, size // columns + 1
    # The outermost cells are cut off: bicubic enlarging flattens the border.
    large = resize_field(grid, size + 2 * margin_y, size + 2 * margin_x)
    return large[margin_y : margin_y + size, margin_x : margin_x + size]


def fractal_noise(
    rng: np.random.Generator,
    size: int,
    cells: float,
    octaves: int = 4,
    gain: float = 0.5,
    stretch: float = 1.0,
) -> Field:
    """Sum of `octaves` noises, each twice as fine and `gain` times as strong as the one before.

    Returns:
        float32 `[size, size]`, zero mean, unit standard deviation.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += gain**octave * value_noise(rng, size, cells * 2**octave, stretch)
    total -= total.mean()
    return np.asarray(total / (total.std() + 1e-6), dtype=np.float32)


def streaks(rng: np.random.Generator, size: int, fineness: float = 1.0, length: float = 0.5) -> Field:
    """Vertical grinding or brushing marks: fine across x, long along y.

    Args:
        rng: source of randomness.
        size: height and width in pixels.
        fineness: 1 gives marks one pixel wide, 0.5 two pixels, and so on.
        length: length of a mark as a share of the image, 0..1.

    Returns:
        float32 `[size, size]`, zero mean, unit standard deviation.
    """
    columns = int(np.clip(size * fineness, 4, size))
    rows = int(np.clip(round(1.0 / max(length, 1e-3)), 2, size))
    grid = rng.standard_normal((rows, columns)).astype(np.float32)
    field = resize_field(grid, size, size)
    field = field - field.mean()
    return np.asarray(field / (field.std() + 1e-6), dtype=np.float32)
