"""Room on the disk, asked for before the work that would fill it."""

from __future__ import annotations

import shutil
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import nearest_folder
from seas_runtime.units import gib

MARGIN = 64 * 1024 * 1024
"""Bytes asked for on top: tables, graphs, and what else a disk is used for meanwhile."""


def require_space(path: Path, needed: int, what: str) -> None:
    """Raise a UserError unless there are `needed` bytes and a margin free where `path` is or would be.

    A file system that does not say how much is free is taken to have enough.
    """
    folder = nearest_folder(path)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed + MARGIN:
        raise UserError(
            f"{path}: {what} takes {gib(needed + MARGIN, 2)} of disk, and {folder} has {gib(free, 2)} free; "
            "make free space or choose another folder"
        )
