"""Folders for work that is under way: locked while their process lives, swept away after it was killed."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.files import is_temporary, os_errors, temporary_sibling

logger = logging.getLogger(__name__)

_OWNER = ".seas-export-unfinished"
"""In each such folder, so that none of a person's is taken for one."""
_CONTENT = "content"
_PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds


@contextlib.contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield an empty folder on the file system of `beside`, hidden beside it; it is removed afterwards.

    The system lets go of its lock if we are killed, on this machine as in its containers; the next `sweep`
    of the folder removes it then. An OSError while it is made becomes a UserError.
    """
    made: list[Path] = []  # filled before a folder is there: an interrupt may come at any place
    handle: int | None = None
    try:
        try:
            with os_errors(beside):
                beside.parent.mkdir(parents=True, exist_ok=True)
                handle = _make(beside, made)
            yield made[-1] / _CONTENT
        finally:
            _remove_all(made)
    finally:
        _remove_all(made)  # once more: the interrupt may have come while the first was at work
        if handle is not None:
            os.close(handle)


def _remove_all(folders: list[Path]) -> None:
    for folder in folders:
        _remove(folder)


def _remove(folder: Path) -> None:
    for pause in _PAUSES:  # a thread that was interrupted may be writing its last file
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(pause)


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


def _make(beside: Path, made: list[Path]) -> int | None:
    """Make and lock a folder, the last of `made`; another one where a sweeping process was faster."""
    while True:
        folder = temporary_sibling(beside)
        if os.path.lexists(folder):
            continue
        made.append(folder)
        folder.mkdir()
        (folder / _CONTENT).mkdir()
        handle = _lock(folder)
        try:
            (folder / _OWNER).touch()
        except FileNotFoundError:
            if handle is not None:
                os.close(handle)
            continue
        return handle


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
