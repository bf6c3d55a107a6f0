"""What backends share whose tensors lie in host memory: places, marks, sequences."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from seas_runtime.backends.contract import Call, Sequenced, run_in_turn
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import Shape

_MEMORY_WORDS = (
    "bad_alloc",
    "failed to allocate",
    "out of memory",
    "cannot allocate",
    "not enough memory",
    "alloc_failed",
)


class HostTensor:
    """A place that holds an array once something was written to it."""

    __slots__ = ("array", "dtype", "shape")

    def __init__(self, shape: Shape, dtype: str) -> None:
        self.shape, self.dtype = shape, dtype
        self.array: Array | None = None

    def get(self) -> Array:
        """Return the array; it was written before."""
        assert self.array is not None
        return self.array


class HostMemory:
    """The half of a Backend that has nothing to do with a library."""

    joins = False
    loads_at_once = True
    threads: int | None = 1

    def most_at_once(self, pixels: int) -> int | None:
        """Return two a core, at least four: more outgrow the processor's cache and take longer each."""
        return max(4, 2 * (self.threads or 1))

    def allocate(self, shape: Shape, dtype: str) -> HostTensor:
        """Return an empty place: graphs bring the memory of their outputs along."""
        return HostTensor(shape, dtype)

    def part(self, value: HostTensor, index: int, count: int) -> HostTensor:
        """Refuse: one batch for several calls' outputs would only change the rounding here."""
        raise NotImplementedError

    def write(self, value: HostTensor, array: Array) -> None:
        """Hold the array itself: nothing is copied."""
        value.array = np.ascontiguousarray(array, dtype=value.dtype)

    def read(self, values: Sequence[HostTensor]) -> list[Array]:
        """Return the arrays: every run made new ones."""
        return [value.get() for value in values]

    def sequence(self, calls: Sequence[Call]) -> Sequenced:
        """Run the calls one after another."""
        return run_in_turn(calls)

    def mark(self) -> float:
        """Return the time in seconds."""
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        """Return the seconds between."""
        return end - begin

    def settle(self) -> None:
        """Keep nothing."""


def run_failure(where: str, reason: str, memory: type[CheckFailed] = CheckFailed) -> CheckFailed:
    """Return the error of a graph that failed to run; of class `memory` where there was too little of it."""
    if any(word in reason.lower() for word in _MEMORY_WORDS):
        return memory(f"{where}: out of memory: {reason}; use a smaller --batch, or free some memory")
    return CheckFailed(f"{where}: the graph failed to run: {reason}")
