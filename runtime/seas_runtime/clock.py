"""Measures how long each graph runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from seas_runtime.records import GraphTimes


class Clock:
    """Adds up seconds per graph; `times` also gives the seconds since the clock was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def measuring(self, graph: str) -> Iterator[None]:
        """Count the block's time to `graph`."""
        begun = time.perf_counter()
        yield
        self._seconds[graph] = self._seconds.get(graph, 0.0) + time.perf_counter() - begun

    def times(self) -> GraphTimes:
        """Return the seconds so far."""
        return GraphTimes(**self._seconds, total=time.perf_counter() - self._begun)
