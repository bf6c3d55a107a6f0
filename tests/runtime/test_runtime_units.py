from __future__ import annotations

from seas_runtime.units import duration, gib, mib, size_words


def test_sizes() -> None:
    assert (gib(3 << 29), gib(3 << 29, 2), mib(5 << 19, 0)) == ("1.5 GiB", "1.50 GiB", "2 MiB")
    assert [size_words(size) for size in (100, 3 << 19, 1 << 30)] == ["100 bytes", "1.5 MiB", "1.00 GiB"]


def test_durations() -> None:
    assert [duration(seconds) for seconds in (2.34, 89.9, 100.0)] == ["2.3 s", "89.9 s", "1 min 40 s"]
