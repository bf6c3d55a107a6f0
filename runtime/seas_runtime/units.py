"""Bytes and seconds in words."""

from __future__ import annotations


def gib(size: float, digits: int = 1) -> str:
    """Return bytes as GiB."""
    return f"{size / 2**30:.{digits}f} GiB"


def mib(size: float, digits: int = 1) -> str:
    """Return bytes as MiB."""
    return f"{size / 2**20:.{digits}f} MiB"


def size_words(size: int) -> str:
    """Return bytes in the unit that suits them."""
    if size < 2**20:
        return f"{size} bytes"
    return gib(size, 2) if size >= 2**30 / 10 else mib(size)


def duration(seconds: float) -> str:
    """Return seconds as seconds, from a minute and a half on as minutes and seconds."""
    return f"{seconds:.1f} s" if seconds < 90 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
