"""Whether one set of trainings is better than another: a bootstrap over photographs and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.measures.counts import Counts

DRAWS = 2000
SHARE = 0.95
FIGURES = ("iou", "ap")
"""What is compared so."""

Result = TypeVar("Result")
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """By how much one set of trainings is above another in a figure, mean over seeds, in shares of 1."""

    figure: str
    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `no difference shown`."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference shown"

    def words(self) -> str:
        """Say it: `+7.3 points (95 %: +4.1 to +10.5): better`."""
        span = f"{100 * SHARE:.0f} %: {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        return f"{100 * self.mean:+.1f} points ({span}): {self.verdict}"


def compare(
    ours: Sequence[Counts], theirs: Sequence[Counts], groups: Sequence[str], seed: int = 0
) -> list[Difference]:
    """Compare segmenters by IoU and average precision, see `differences`."""
    return differences(FIGURES, _resampled, ours, theirs, groups, seed)


def differences(
    figures: Sequence[str],
    resampled: Callable[[str, Result, FloatArray], FloatArray],
    ours: Sequence[Result],
    theirs: Sequence[Result],
    groups: Sequence[str],
    seed: int = 0,
) -> list[Difference]:
    """Compare trainings, one of each seed on either side, by resampling photographs and seeds.

    resampled: returns a figure [R] of results whose photographs count as weights [R, P] say. groups: [P],
    what each photograph shows; each group keeps its number of photographs. Trainings of the same
    seed are compared with each other, and seeds are drawn too: the interval says what other photographs and
    other seeds would change.
    """
    weights = _draws(groups, seed)
    seeds = _draws(["seed"] * len(ours), seed + 1).T / len(ours)  # [S, 1 + DRAWS]
    made = []
    for figure in figures:
        own, other = (np.stack([resampled(figure, one, weights) for one in side]) for side in (ours, theirs))
        gap = np.einsum("sr,sr->r", own - other, seeds)  # [1 + DRAWS], all photographs and seeds first
        if np.isnan(gap[0]):
            continue
        edges = np.nanquantile(gap[1:], [(1 - SHARE) / 2, (1 + SHARE) / 2])
        made.append(Difference(figure, float(gap[0]), float(edges[0]), float(edges[1])))
    return made


def _draws(groups: Sequence[str], seed: int) -> FloatArray:
    """Return how often each photograph is drawn, [1 + DRAWS, P]; the first row is ones."""
    random = np.random.default_rng(seed)
    names = np.array(groups)
    weights = np.ones((1 + DRAWS, len(names)))
    for name in sorted(set(groups)):
        own = np.flatnonzero(names == name)
        drawn = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=DRAWS)
        weights[1:, own] = drawn
    return weights


def _resampled(figure: str, counts: Counts, weights: FloatArray) -> FloatArray:
    """Return a figure for each row of weights [R, P]; not a number where a row has nothing to measure."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if figure == "iou":
            return np.asarray((weights @ counts.overlap) / (weights @ counts.either))
        flat = weights @ counts.levels.reshape(len(counts.peak), -1)
        return average_precision(flat.reshape(len(weights), 2, -1))


def average_precision(histograms: FloatArray) -> FloatArray:
    """Return average precision [R] of pixels counted by level [R, 2, L].

    Scikit-learn's value, for thousands of resampled counts at once, which takes it minutes.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        above = histograms[:, :, ::-1].cumsum(2)
        precision = above[:, 1] / np.maximum(above.sum(1), 1e-12)
        steps = np.diff(above[:, 1], prepend=0, axis=1)
        return np.asarray((precision * steps).sum(1) / above[:, 1, -1])
