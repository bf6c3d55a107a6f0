"""What is counted on each photograph of a test, from its map and its mask; every figure is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from seas_runtime.dataset.formats.shapes.regions import find_regions
from seas_runtime.placement.morphology import BoolArray

LEVELS = 1024
"""Steps that logits are counted in."""
RANGE = 8.0
"""Logits beyond are counted as the lowest or the highest level: probabilities below 0.0003, above 0.9997."""
CUT = LEVELS // 2
"""The first level that is called defect: a logit of 0, a probability of a half."""
FOUND = 0.3
"""The share of a real region that must be called defect for it to be detected."""
SMALLEST = 16
"""Pixels that a region on a normal has at least to count as a false one."""
POOL = 21
"""Pixels of a side over which maps are averaged for the second image score, as in AnomalyDiffusion's code."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Counts:
    """Of P photographs. With `levels` [P, 2, 1024]: pixels of each level, outside of the defect and on it."""

    levels: NDArray[np.int64]
    overlap: NDArray[np.int64]
    """Pixels [P] that are defect and called so."""
    either: NDArray[np.int64]
    """Pixels [P] that are defect or called so."""
    regions: NDArray[np.int64]
    """Connected regions [P] of the real mask."""
    detected: NDArray[np.int64]
    """Those [P] of which 30 % are found."""
    false_regions: NDArray[np.int64]
    """Connected regions [P] that are called defect and touch none."""
    peak: NDArray[np.float64]
    """The highest probability [P]."""
    pooled: NDArray[np.float64]
    """The highest probability [P] after averaging over 21 x 21 pixels."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def joined(cls, counts: Sequence[Counts]) -> Counts:
        """Return the counts of several lots of photographs as one."""
        return cls(**{f.name: np.concatenate([getattr(c, f.name) for c in counts]) for f in fields(cls)})

    def of(self, chosen: NDArray[np.bool_]) -> Counts:
        """Return the counts of some of the photographs [P]."""
        return Counts(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def levels_of(logits: FloatArray) -> NDArray[np.uint16]:
    """Return logits [h, w] as levels of 0 to 1023; the order stays, but for what is nearer than 1/64."""
    steps = np.floor((logits + RANGE) * (LEVELS / (2 * RANGE)))
    return np.asarray(np.clip(steps, 0, LEVELS - 1), np.uint16)


def count(logits: FloatArray, mask: BoolArray) -> Counts:
    """Count on one photograph; logits and mask [H, W], both at its own resolution."""
    levels = levels_of(logits)
    called = levels >= CUT
    histogram = np.stack([np.bincount(levels[side], minlength=LEVELS) for side in (~mask, mask)])
    real = find_regions(mask)
    found = 0
    for region in real:
        here = called[region.top : region.top + region.height, region.left : region.left + region.width]
        found += int((here & region.mask).sum() >= FOUND * region.area)
    wrong = 0
    for region in find_regions(called):
        there = mask[region.top : region.top + region.height, region.left : region.left + region.width]
        wrong += region.area >= SMALLEST and not bool((there & region.mask).any())
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    whole = {
        "overlap": int((called & mask).sum()),
        "either": int((called | mask).sum()),
        "regions": len(real),
        "detected": found,
        "false_regions": wrong,
        "peak": float(probability.max()),
        "pooled": float(pooled(probability, POOL).max()),
    }
    return Counts(levels=histogram[None], **{name: np.array([value]) for name, value in whole.items()})


def pooled(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return means [H, W] over side x side pixels; beyond the edges there is 0."""
    half = side // 2
    sums = np.pad(values, ((half + 1, half), (half + 1, half))).cumsum(0).cumsum(1)
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(total / side**2)
