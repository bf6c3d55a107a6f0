"""Chooses the regions of a product's photographs: around its defects, and of normals where defects lie.

What is drawn follows from the contents of the files alone, so that the same files give the same regions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seas_runtime.placement.regions import Region, region_around
from seas_train.data.layouts import Pair
from seas_train.data.regions.options import JUDGED_RATIO, RegionOptions
from seas_train.data.regions.parts import Part

VERSION = 1
"""Raised whenever the same files would give other regions."""
Size = tuple[int, int]
_MOST_PARTS = 4  # times `per_pair`: more parts of a mask than that have no region of their own


@dataclass(frozen=True)
class View:
    """What is seen of a photograph."""

    image: Path
    region: Region | None = None
    """None for all of it, fitted."""


@dataclass(frozen=True)
class _Spot:
    """Where a training defect lies, and how large it is."""

    x: float
    """Of its box's centre, in widths of the photograph."""
    y: float
    """In its heights."""
    width: int
    """Of its box, in pixels."""
    height: int


@dataclass(frozen=True)
class RegionPlan:
    """The regions of a product."""

    options: RegionOptions
    base_size: int
    """Pixels of a side of the base's pictures."""
    parts: Mapping[Path, tuple[Part, ...]]
    """Of each mask."""
    sizes: Mapping[Path, Size]
    """Width and height of each upright photograph."""
    hashes: Mapping[Path, str]
    """sha256 of each file."""
    spots: tuple[tuple[_Spot, ...], ...]
    """Of the training pairs' parts, defect by defect."""

    def of_pair(self, pair: Pair) -> tuple[Region, ...]:
        """Regions of a training pair: in turn around each part of its mask, so that none is left out."""
        random = self._random("pair", pair.image, pair.mask)
        parts, wanted = self.parts[pair.mask], self.options.per_pair
        order = random.permutation(len(parts))
        count = min(max(wanted, len(parts)), _MOST_PARTS * wanted)
        return tuple(
            self._around(random, parts[order[index % len(parts)]], pair.image, self.options.ratio)
            for index in range(count)
        )

    def of_normal(self, image: Path) -> tuple[Region, ...]:
        """Regions of a training normal, of the sizes of those of pairs: in turn where training defects lie,
        and anywhere."""
        random = self._random("normal", image)
        return tuple(
            self._around(
                random, self._imagined(random, image, anywhere=index % 2 == 1), image, self.options.ratio
            )
            for index in range(self.options.per_normal)
        )

    def judged_pair(self, pair: Pair, seed: int) -> Region:
        """The region of a held-out pair that masks are judged on: around one of its mask's parts."""
        random = self._random(f"judged pair {seed}", pair.image, pair.mask)
        parts = self.parts[pair.mask]
        part = parts[int(random.integers(len(parts)))]
        return self._around(random, part, pair.image, (JUDGED_RATIO, JUDGED_RATIO))

    def judged_normal(self, image: Path, seed: int) -> Region:
        """The region of a held-out normal that masks are judged on: where a training defect lies."""
        random = self._random(f"judged normal {seed}", image)
        imagined = self._imagined(random, image, anywhere=False)
        return self._around(random, imagined, image, (JUDGED_RATIO, JUDGED_RATIO))

    def _imagined(self, random: np.random.Generator, image: Path, *, anywhere: bool) -> Part:
        """The box of a training defect, each as likely, laid on a normal."""
        spots = self.spots[int(random.integers(len(self.spots)))]
        spot = spots[int(random.integers(len(spots)))]
        x, y = random.random(2) if anywhere else (spot.x, spot.y)
        width, height = self.sizes[image]
        left = int(np.clip(x * width - spot.width / 2, 0, max(0, width - spot.width)))
        top = int(np.clip(y * height - spot.height / 2, 0, max(0, height - spot.height)))
        right, bottom = min(width, left + spot.width), min(height, top + spot.height)
        return Part(left, top, right, bottom, 0)

    def _around(
        self, random: np.random.Generator, part: Part, image: Path, ratio: tuple[float, float]
    ) -> Region:
        width, height = self.sizes[image]
        return region_around(random, part.box, (height, width), self.base_size, ratio)

    def _random(self, use: str, *files: Path) -> np.random.Generator:
        words = " ".join([use, *(self.hashes[file] for file in files)])
        key = int.from_bytes(hashlib.sha256(words.encode()).digest()[:16], "little")
        return np.random.Generator(np.random.Philox(key=key))


def make_plan(
    options: RegionOptions,
    base_size: int,
    parts: Mapping[Path, tuple[Part, ...]],
    sizes: Mapping[Path, Size],
    hashes: Mapping[Path, str],
    training: Sequence[Sequence[Pair]],
) -> RegionPlan:
    """Return the plan of a product.

    training: the pairs that train, defect by defect; at least one of one defect.
    """
    spots = tuple(
        tuple(_spot(part, sizes[pair.image]) for pair in pairs for part in parts[pair.mask])
        for pairs in training
        if pairs
    )
    return RegionPlan(options, base_size, parts, sizes, hashes, spots)


def _spot(part: Part, size: Size) -> _Spot:
    x, y = part.centre
    return _Spot(x / size[0], y / size[1], part.right - part.left, part.bottom - part.top)
