"""Keeps what picture decoders say by themselves off the terminal: what matters of a file is in our report."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator

STDERR = 2
_lock = threading.Lock()
_inside = 0
_kept: int | None = None


@contextlib.contextmanager
def quiet_decoders() -> Iterator[None]:
    """Silence Python's warnings, Pillow's loggers, and libtiff, which writes to the process's stderr itself.

    Warnings are silenced for the whole process: enter it before threads start, not in them.
    """
    logger = logging.getLogger("PIL")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    _silence_stderr()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _restore_stderr()
        logger.setLevel(level)


def _silence_stderr() -> None:
    """Point the process's stderr at nothing, where it has one; the first who asks does it."""
    global _inside, _kept
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        with contextlib.suppress(OSError):
            kept = os.dup(STDERR)
            try:
                nothing = os.open(os.devnull, os.O_WRONLY)
            except OSError:
                os.close(kept)
                return
            os.dup2(nothing, STDERR)
            os.close(nothing)
            _kept = kept


def _restore_stderr() -> None:
    """Point it back; the last who leaves does it."""
    global _inside, _kept
    with _lock:
        _inside -= 1
        if _inside == 0 and _kept is not None:
            os.dup2(_kept, STDERR)
            os.close(_kept)
            _kept = None
