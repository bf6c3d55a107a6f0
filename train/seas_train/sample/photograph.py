"""One photograph of the sample product: the same bottle with or without a defect, and the defect's mask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seas_train.render.finish import blur, film_grain, over, to_uint8
from seas_train.render.shapes import make_grid
from seas_train.sample.bottle import choose_bottle, draw_bottle
from seas_train.sample.defects import DRAW

DEFECTS: tuple[str, ...] = tuple(DRAW)


class _Stream(IntEnum):
    """Separate random streams of one index: a defect must not disturb the bottle or the noise under it."""

    BOTTLE = 0
    GRAIN = 1
    DEFECT = 2


@dataclass(frozen=True)
class Rendered:
    """A photograph: `image` uint8 RGB `[size, size, 3]`; `mask` uint8 `[size, size]`, 255 on the defect."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def render_bottle(seed: int, index: int, defect: str | None, size: int = 256) -> Rendered:
    """Render bottle number `index` of the line `seed`.

    The bottle, its light and the sensor's noise follow from (seed, index) alone, so the same index with and
    without a defect differs only where the defect is. What is drawn is the same on every platform; a pixel
    may be off by one of 255 where a platform's mathematical functions round otherwise.

    Args:
        seed: which line, 0 or more.
        index: which bottle, 0 or more.
        defect: one of `DEFECTS`, or None for a normal bottle (whose mask is all 0).
        size: height and width in pixels; the scene does not depend on it, only the noise does.

    Raises:
        ValueError: an unknown defect, a negative seed or index, or a size below 1.
    """
    if defect is not None and defect not in DRAW:
        raise ValueError(f"unknown defect: expected one of {', '.join(DEFECTS)} or None, got {defect!r}")
    if seed < 0 or index < 0 or size < 1:
        raise ValueError(f"expected seed >= 0, index >= 0 and size >= 1, got {seed=}, {index=}, {size=}")
    grid = make_grid(size)
    bottle = choose_bottle(_generator(seed, index, _Stream.BOTTLE))
    image = draw_bottle(bottle, grid)
    radius = bottle.blur * size / 2  # half-sides to pixels
    mask = np.zeros((size, size), dtype=np.uint8)
    if defect is not None:
        stream = _Stream.DEFECT + DEFECTS.index(defect)
        layer = DRAW[defect](bottle, grid, _generator(seed, index, stream))
        image = over(image, layer.colour, layer.opacity)
        mask[blur(layer.opacity, radius) >= 0.5] = 255  # through the same lens as the image
    image = film_grain(_generator(seed, index, _Stream.GRAIN), blur(image, radius), bottle.grain)
    return Rendered(image=to_uint8(image), mask=mask)


def _generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """The counter-based generator of one stream of one bottle."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(index, stream))))
