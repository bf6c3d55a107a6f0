"""Folders for work that is under way: locked while their process lives, swept away after it was killed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.files import is_temporary, os_errors, temporary_sibling

logger = logging.getLogger(__name__)

_OWNER = ".seas-export-unfinished"
"""In each such folder, so that none of a person's is taken for one."""
_CONTENT = "content"


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield an empty folder on the file system of `beside`, hidden beside it; it is removed afterwards.

    The system lets go of its lock if we are killed, on this machine as in its containers; the next `sweep`
    of the folder removes it then. An OSError while it is made becomes a UserError.
    """
    with os_errors(beside):
        beside.parent.mkdir(parents=True, exist_ok=True)
        folder, handle = _make(beside)
    try:
        yield folder / _CONTENT
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the temporary folders in `folder` whose processes are gone; where there are no locks, none."""
    with contextlib.suppress(OSError):
        for item in list(folder.iterdir()):
            if is_temporary(item.name) and not item.is_symlink() and (item / _OWNER).is_file():
                _sweep_one(item)


def _sweep_one(item: Path) -> None:
    with contextlib.suppress(OSError):
        handle = _lock(item)
        if handle is not None:
            logger.info("%s: removed; a run that was stopped had left it", item)
            shutil.rmtree(item, ignore_errors=True)
            os.close(handle)


def _make(beside: Path) -> tuple[Path, int | None]:
    """Make and lock a folder. Another process that sweeps may take it before it is locked: then another."""
    while True:
        folder = temporary_sibling(beside)
        folder.mkdir()
        (folder / _CONTENT).mkdir()
        handle = _lock(folder)
        try:
            (folder / _OWNER).touch()
        except FileNotFoundError:
            if handle is not None:
                os.close(handle)
            continue
        return folder, handle


def _lock(folder: Path) -> int | None:
    """Lock a folder; None where another process has it, or the system has no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
