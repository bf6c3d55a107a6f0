"""Random streams as a function of (seed, stage, step), so that a saved state holds no generator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class StepRandom:
    """The random streams of one batch. Draw from them in a fixed order."""

    numpy: np.random.Generator
    """For choices: which images, which augmentation."""
    torch: torch.Generator
    """On the CPU, for noise and timesteps, so that every device sees the same."""


def step_random(seed: int, stage: str, step: int, part: int = 0, process: int = 0) -> StepRandom:
    """The streams of a batch: part `part` (of gradient accumulation) of step `step` on one process."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}/{part}/{process}".encode()).digest()
    # numpy's Philox takes a key of 128 bits; the rest of the hash seeds torch.
    philox = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    generator = torch.Generator().manual_seed(int.from_bytes(digest[16:23], "little"))
    return StepRandom(np.random.Generator(philox), generator)


@contextmanager
def first_weights(seed: int, what: str) -> Iterator[None]:
    """Let the weights of modules that are made within follow from the seed and what they are of."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(step_random(seed, what, 0).numpy.integers(2**62)))
        yield
