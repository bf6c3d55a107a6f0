"""The canvas that every painter of the world draws on, and the painting that it returns."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seas_train.render import make_grid
from seas_train.render.shapes import Grid

ImageArray = NDArray[np.float32]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """The randomness, size in pixels and coordinates that one image is painted with."""

    rng: np.random.Generator
    size: int = 256
    grid: Grid = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", make_grid(self.size))

    def flat(self, colour: NDArray[np.float32]) -> ImageArray:
        """An image `[size, size, 3]` of one colour."""
        return np.broadcast_to(colour, (self.size, self.size, 3)).astype(np.float32)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        """A number drawn uniformly from `low`..`high`."""
        return float(self.rng.uniform(low, high))


@dataclass(frozen=True)
class Painting:
    """A painted image, float32 `[H, W, 3]` about 0..1, and the noun phrase that names it."""

    image: ImageArray
    noun: str
    # Where flaws belong, float32 [H, W]: the part, or everywhere for a surface.
    mask: Field
