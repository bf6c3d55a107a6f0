"""What backends share that compute on the processor, or that the host waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NoReturn

from seas_runtime.backends.contract import Call, Sequenced, Watch
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


class HostClock:
    """Marks of a Backend whose sequences end when the host goes on."""

    def mark(self) -> float:
        """Return the time in seconds."""
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        """Return the seconds between."""
        return end - begin

    def settle(self) -> None:
        """Keep nothing."""


class OnProcessor(HostClock):
    """The part of a Backend on the processor that has nothing to do with a library."""

    joins = False
    loads_at_once = True
    threads: int | None = 1

    def most_at_once(self, pixels: int) -> int | None:
        """Return two a core, at least four: more outgrow the processor's cache and take longer each."""
        return max(4, 2 * (self.threads or 1))

    def part(self, value: object, index: int, count: int) -> NoReturn:
        """Refuse: one batch for several calls' outputs would only change the rounding here."""
        raise NotImplementedError

    def sequence(self, calls: Sequence[Call]) -> Sequenced:
        """Return what runs the calls one after another, watched."""

        def run(watch: Watch) -> None:
            for call in calls:
                watch()
                call()

        return run


def run_failure(where: str, reason: str, memory: type[CheckFailed] = CheckFailed) -> CheckFailed:
    """Return the error of a graph that failed to run; of class `memory` where there was too little of it."""
    if any(word in reason.lower() for word in _MEMORY_WORDS):
        return memory(f"{where}: out of memory: {reason}; use a smaller --batch, or free some memory")
    return CheckFailed(f"{where}: the graph failed to run: {reason}")
