"""Folders that go through Ray's object store, once a node, to machines that share no file system."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.files import is_temporary, os_errors

Packed = Mapping[str, Any]
"""Bytes of files, uint8 [size], by path in their folder; read in place where the object store has them."""


def pack_bundle(bundle: Path) -> Packed:
    """Return a bundle's files, and its engines."""
    files = (file for file in sorted(bundle.rglob("*")) if file.is_file() and not is_temporary(file.name))
    return pack(bundle, files)


def pack(folder: Path, files: Iterable[Path]) -> Packed:
    """Return files of a folder."""
    with os_errors(folder, "read"):
        return {file.relative_to(folder).as_posix(): np.fromfile(file, np.uint8) for file in files}


def unpack(packed: Packed, digest: str) -> Path:
    """Return the folder on this machine that holds packed files; whoever opens it checks their hashes.

    The first process of a machine writes it, others wait. It lies among temporary files, and is this user's
    alone.
    """
    base = Path(tempfile.gettempdir()) / f"seas-export-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    with os_errors(base):
        base.mkdir(mode=0o700, exist_ok=True)
        found = base.lstat()
    if base.is_symlink() or (
        hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077)
    ):
        raise UserError(f"{base}: expected a folder of this user alone, found another one; remove it")
    return _written(base, packed, digest)


def _written(base: Path, packed: Packed, digest: str) -> Path:
    import fcntl

    folder = base / digest[:32]
    with os_errors(base), (base / f"{digest[:32]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        fresh = Path(tempfile.mkdtemp(dir=base))
        for name, data in packed.items():
            file = fresh / name
            file.parent.mkdir(parents=True, exist_ok=True)
            data.tofile(file)
        fresh.rename(folder)
    return folder
