"""Limits on how often and how much at a time anybody may ask."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from seas_runtime.service.refusals import TooMany

_BURST = 4.0
"""Seconds of requests that may come at once."""
_GUESSES = 20
"""Unknown tokens from one address in a minute."""
_MOST_KEPT = 10_000


class _Bucket:
    """So many a second, with some saved up."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self.left, self._seen = most, time.monotonic()

    def fill(self) -> None:
        now = time.monotonic()
        self.left = min(self._most, self.left + (now - self._seen) * self._rate)
        self._seen = now


class Limits:
    """Counts requests, uploads and streams; safe for several threads."""

    def __init__(self, requests_per_second: float, uploads: int, streams: int) -> None:
        self._rate = requests_per_second
        self._lock = threading.Lock()
        self._callers: OrderedDict[str, _Bucket] = OrderedDict()
        self._guessers: OrderedDict[str, _Bucket] = OrderedDict()
        self._free = {"uploads": uploads, "streams": streams, "placings": 4}

    def count(self, caller: str) -> None:
        """Count a request; TooMany where there are too many a second."""
        with self._lock:
            bucket = _of(self._callers, caller, self._rate, max(1.0, self._rate * _BURST))
            if bucket.left < 1:
                raise TooMany("requests: too many a second; wait a moment")
            bucket.left -= 1

    def guessed(self, address: str) -> None:
        """Count an unknown token; TooMany after many from one address. Known ones are let in still."""
        with self._lock:
            bucket = _of(self._guessers, address, _GUESSES / 60, _GUESSES)
            if bucket.left < 1:
                raise TooMany("token: too many unknown ones from this address; wait a minute")
            bucket.left -= 1

    @contextlib.contextmanager
    def one_of(self, kind: str) -> Iterator[None]:
        """Hold one of the `uploads`, `streams` or `placings` during the block; TooMany where none is free."""
        self.hold(kind)
        try:
            yield
        finally:
            self.release(kind)

    def hold(self, kind: str) -> None:
        """Take one, to be given back by `release`."""
        with self._lock:
            if self._free[kind] < 1:
                raise TooMany(f"{kind}: as many as this service takes at a time are running; try again soon")
            self._free[kind] -= 1

    def release(self, kind: str) -> None:
        """Give one back."""
        with self._lock:
            self._free[kind] += 1


def _of(buckets: OrderedDict[str, _Bucket], key: str, rate: float, most: float) -> _Bucket:
    bucket = buckets.pop(key, None) or _Bucket(rate, most)
    bucket.fill()
    buckets[key] = bucket
    while len(buckets) > _MOST_KEPT:
        buckets.popitem(last=False)
    return bucket
