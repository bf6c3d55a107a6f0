"""Winograd's form of small convolutions: fewer products, of sums and differences of what is convolved.

Two neighbouring outputs of a three-tap filter need four products instead of six, once inputs and taps are
added up in the right pairs (Winograd 1980, "Arithmetic Complexity of Computations"). Along rows and columns,
four outputs of a 3x3 kernel then need sixteen products instead of thirty-six: F(2x2, 3x3) of Lavin and Gray
2016, "Fast Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308.

After a nearest-neighbour upsampling by two a pixel meets its own copy, and one product of four in each
direction vanishes. The remaining nine multiply the small image, where four phases of a 2x2 kernel have
sixteen taps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seas_runtime.manifest.schedule import Array


@dataclass(frozen=True)
class Product:
    """One product of a tile along one axis."""

    first: int
    """Index in the tile of the first value that it takes."""
    apart: int
    """Distance to the second value, if there is one."""
    signs: tuple[int, ...]
    """Of its values, one or two."""
    factors: tuple[float, ...]
    """Weights of the taps in its factor."""

    def pads(self, size: int, stride: int) -> tuple[int, int]:
        """Return how far it reaches over both ends of `size` values; tiles begin one before the first."""
        last_tile = size - stride - 1
        return 1 - self.first, max(0, last_tile + self.first + self.apart - (size - 1))


@dataclass(frozen=True)
class Form:
    """Two outputs as sums of a tile's products, along one axis."""

    stride: int
    """From one tile to the next."""
    products: tuple[Product, ...]
    outputs: tuple[tuple[int, ...], tuple[int, ...]]
    """The sign of each product in the even and the odd output."""

    @property
    def factors(self) -> Array:
        """Return a matrix from taps to the products' factors."""
        return np.array([item.factors for item in self.products], np.float32)

    @property
    def everywhere(self) -> int:
        """Return the index of the product that both outputs add: a bias goes there."""
        return list(zip(*self.outputs, strict=True)).index((1, 1))


SAME = Form(
    stride=2,
    products=(
        Product(0, 2, (1, -1), (1, 0, 0)),
        Product(1, 1, (1, 1), (0.5, 0.5, 0.5)),
        Product(1, 1, (-1, 1), (0.5, -0.5, 0.5)),
        Product(1, 2, (1, -1), (0, 0, 1)),
    ),
    outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
)
"""A convolution with three taps along each axis."""
DOUBLED = Form(
    stride=1,
    products=(
        Product(0, 1, (1, -1), (1, 0, 0, 0)),
        Product(1, 0, (1,), (1, 1, 0, 0)),
        Product(1, 1, (1, -1), (0, 0, 0, 1)),
    ),
    outputs=((1, 1, 0), (0, 1, -1)),
)
"""The same behind an upsampling by two; its taps are the two of the even phase and the two of the odd one."""


def product_factors(factors: Array, taps: Array) -> Array:
    """Return the factors [P,P,O,I] of all products of taps [O,I,T,T]."""
    by_tap = np.ascontiguousarray(taps.transpose(2, 3, 0, 1))
    rows = np.tensordot(factors, by_tap, axes=1)
    both: Array = np.tensordot(factors, rows, axes=(1, 1))
    both = both.swapaxes(0, 1)
    return both


def to_bfloat16(numbers: Array) -> Array:
    """Return float32 numbers rounded to the nearest bfloat16, ties to even, as their sixteen bits."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
