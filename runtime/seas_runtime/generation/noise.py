"""Noise that depends on the seed, the pair and the attempt alone: never on order, batch or machine."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

MAX_SEED = 2**63 - 1
MAX_INDEX = 2**48 - 1
MAX_ATTEMPT = 255


class Stream(enum.IntEnum):
    """What a pair's random numbers are for: each use starts at its own counter, so none shifts another."""

    REFERENCE = 0
    START = 1
    STEP = 2  # step i reads stream STEP + i


def pair_generator(seed: int, index: int, attempt: int, stream: int) -> np.random.Generator:
    """Return the counter-based generator of one stream of one attempt at one pair.

    The 128-bit Philox key is (seed, index * 256 + attempt); the top word of the counter is the stream.
    """
    if not 0 <= seed <= MAX_SEED or not 0 <= index <= MAX_INDEX or not 0 <= attempt <= MAX_ATTEMPT:
        raise ValueError(f"seed {seed}, index {index} or attempt {attempt} out of range")
    key = np.array([seed, (index << 8) | attempt], dtype=np.uint64)
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def standard_normal(
    seed: int, index: int, attempt: int, stream: int, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Return standard normal noise of `shape`, drawn in float64 and rounded to float32.

    The rounding hides what platforms' mathematics libraries differ by in the last bits.
    """
    return pair_generator(seed, index, attempt, stream).standard_normal(shape).astype(np.float32)


def start_noise(seed: int, index: int, attempt: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the noise that an attempt at a pair starts from; `shape` is (C, h, w)."""
    return standard_normal(seed, index, attempt, Stream.START, shape)


def step_noise(
    seed: int, index: int, attempt: int, step: int, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Return the fresh noise of one step, for samplers that add some; `shape` is (C, h, w)."""
    return standard_normal(seed, index, attempt, Stream.STEP + step, shape)


def reference_index(seed: int, index: int, attempt: int, count: int) -> int:
    """Return which of `count` references an attempt at a pair starts from."""
    return int(pair_generator(seed, index, attempt, Stream.REFERENCE).integers(count))
