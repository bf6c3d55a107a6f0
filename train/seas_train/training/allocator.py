"""Freed memory stays in the process while a small model trains on a CPU."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_MAPPED_FROM = 2**30
_TRIMMED_FROM = 2**31 - 1  # mallopt takes an int
_SMALL = 50_000_000
"""Trained parameters below which the memory that a step frees is little enough to keep."""


def keep_where_small(device: str, trained: int) -> None:
    """Keep freed memory where a model of so many trained parameters trains on a CPU, if it is a small one."""
    if device == "cpu" and trained < _SMALL:
        keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, for the rest of the process; returns whether it does.

    glibc gives large blocks back to the system when they are freed, and a training step asks for the same
    ones again and again: the kernel clears every page anew, which takes a twentieth of a step of `micro`, and
    a tenth of one of a proof's U-Net. Another C library, or another system, is left as it is.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:  # musl
        return False
    return bool(set_option(_M_MMAP_THRESHOLD, _MAPPED_FROM) and set_option(_M_TRIM_THRESHOLD, _TRIMMED_FROM))
