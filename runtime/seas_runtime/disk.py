"""Room on the disk, asked for before the work that would fill it."""

from __future__ import annotations

import shutil
from pathlib import Path

from seas_runtime.errors import UserError

MARGIN = 64 * 1024 * 1024
"""Bytes asked for on top: tables, graphs, and what else a disk is used for meanwhile."""


def require_space(path: Path, needed: int, what: str) -> None:
    """Raise a UserError unless there are `needed` bytes and a margin free where `path` is or would be.

    A file system that does not say how much is free is taken to have enough.
    """
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed + MARGIN:
        raise UserError(
            f"{path}: {what} takes {_gib(needed + MARGIN)} of disk, and {folder} has {_gib(free)} free; "
            "free some space or choose another folder"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
