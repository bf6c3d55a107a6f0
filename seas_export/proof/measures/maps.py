"""The results of a segmenter's test: what was counted on each photograph, and its map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.measures.counts import LEVELS, RANGE, Counts, levels_of

SHADES = 256


@dataclass(frozen=True, eq=False)
class Tested:
    """What was counted, and each photograph's map [H, W], see `shown_map`."""

    counts: Counts
    maps: tuple[NDArray[np.uint8], ...]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the results as arrays by name."""
        shapes = np.array([one.shape for one in self.maps], np.int64)
        flat = np.concatenate([one.ravel() for one in self.maps])
        return {"maps": flat, "shapes": shapes, **self.counts.arrays()}

    @classmethod
    def of(cls, found: Mapping[str, NDArray[Any]]) -> Tested:
        """Return results from their arrays; KeyError or ValueError where these are none of ours."""
        shapes, flat = found["shapes"], found["maps"]
        ends = np.cumsum([0, *(int(height * width) for height, width in shapes)])
        maps = tuple(
            flat[start:end].reshape(tuple(shape))
            for start, end, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
        )
        return cls(Counts(**{name: found[name] for name in Counts.__dataclass_fields__}), maps)


def shown_map(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return logits [H, W] in 256 steps, which pictures are drawn of: finer ones take twice the room."""
    return np.asarray(levels_of(logits) // (LEVELS // SHADES), np.uint8)


def probability_of(shades: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities that a shown map stands for."""
    logits = (shades.astype(np.float32) + 0.5) * (2 * RANGE / SHADES) - RANGE
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
