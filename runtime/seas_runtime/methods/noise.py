"""Noise that depends on the pair and the attempt alone: never on order, batch or machine."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_SEED = 2**63 - 1
MAX_INDEX = 2**48 - 1
MAX_ATTEMPT = 255


class Stream(enum.IntEnum):
    """What random numbers are for: each use has a counter of its own, so none shifts another.

    From `OWN` on a method numbers streams as it likes.
    """

    REFERENCE = 0
    START = 1
    STEP = 2
    BLEND = 3
    PLACEMENT = 4
    OWN = 16


@dataclass(frozen=True)
class PairNoise:
    """The random numbers of one attempt at one pair, from Philox keyed by (seed, index * 256 + attempt).

    The counter's words are, from the lowest, the draws, the defect's hash, the step and the stream. In
    `schema` 1 the top word is stream + step and the others are 0: defects share noise.
    Raises ValueError for a number out of range.
    """

    seed: int
    index: int
    attempt: int
    defect: str
    schema: int

    def generator(self, stream: int, step: int = 0) -> np.random.Generator:
        """Return the counter-based generator of one stream in one step."""
        if not (
            0 <= self.seed <= MAX_SEED and 0 <= self.index <= MAX_INDEX and 0 <= self.attempt <= MAX_ATTEMPT
        ):
            raise ValueError(f"seed {self.seed}, index {self.index} or attempt {self.attempt} out of range")
        if self.schema == 1:
            counter = [0, 0, 0, stream + step]
        else:
            defect = int.from_bytes(hashlib.sha256(self.defect.encode()).digest()[:8], "little")
            counter = [0, defect, step, stream]
        key = np.array([self.seed, (self.index << 8) | self.attempt], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=np.array(counter, np.uint64)))

    def normal(self, stream: int, shape: tuple[int, ...], step: int = 0) -> npt.NDArray[np.float32]:
        """Return standard normal noise of `shape`, drawn in float64 and rounded to float32.

        The rounding hides what platforms' mathematics libraries differ by in the last bits.
        """
        return self.generator(stream, step).standard_normal(shape).astype(np.float32)

    def choice(self, stream: int, count: int) -> int:
        """Return a number from 0 to `count` - 1, each as likely."""
        return int(self.generator(stream).integers(count))
