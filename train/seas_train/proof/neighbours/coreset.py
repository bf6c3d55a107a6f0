"""A few features that stand for many: the greedy coreset of PatchCore (Roth et al. 2022, algorithm 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]


def choose_coreset(points: FloatArray, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return which `count` of the points [N, D] lie so that every point is near one of them.

    The first is drawn; each further one is the point that is farthest from those that were chosen, which
    takes at most twice the best possible distance (Gonzalez 1985). Fewer where all others are the same as
    those.
    """
    lengths = (points**2).sum(1)
    chosen = [int(random.integers(len(points)))]
    nearest = _squares(points, lengths, chosen[0])
    while len(chosen) < min(count, len(points)):
        farthest = int(nearest.argmax())
        if nearest[farthest] <= 0:
            break
        chosen.append(farthest)
        np.minimum(nearest, _squares(points, lengths, chosen[-1]), out=nearest)
    return np.array(chosen)


def nearest_distances(points: FloatArray, bank: FloatArray) -> FloatArray:
    """Return the distance [N] of each point [N, D] to its nearest one of the bank [M, D]."""
    squares = (points**2).sum(1)[:, None] - 2 * points @ bank.T + (bank**2).sum(1)[None]
    return np.asarray(np.sqrt(np.maximum(squares.min(1), 0)))


def _squares(points: FloatArray, lengths: FloatArray, place: int) -> FloatArray:
    """Return the squared distances [N] to one of the points."""
    return np.asarray(np.maximum(lengths - 2 * points @ points[place] + lengths[place], 0))
