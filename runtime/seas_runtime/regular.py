"""Opens files that came from anywhere: regular ones only, and nothing that waits."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from seas_runtime.errors import UserError

_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):  # as far as the system has them
    _FLAGS |= getattr(os, _name, 0)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
}


def open_regular(path: Path, follow: bool = True) -> BinaryIO:
    """Open a regular file to read it, unbuffered; without `follow` no symbolic link either.

    A pipe would be waited for, and a device has no end. Raises UserError for what is no regular file, and
    OSError as `open` does.
    """
    _check(path, path.stat(follow_symlinks=follow))
    # What lies there may have changed since: opening must not wait either, and is asked again.
    flags = _FLAGS if follow else _FLAGS | getattr(os, "O_NOFOLLOW", 0)
    file = os.fdopen(os.open(path, flags), "rb", buffering=0)
    try:
        _check(path, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def kind_in_words(found: os.stat_result) -> str | None:
    """Return what kind of thing lies at a path that is no regular file; None for one that has no name."""
    return _KINDS.get(stat.S_IFMT(found.st_mode))


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = kind_in_words(found) or "something else"
        raise UserError(f"{path}: expected a regular file, found {kind}; remove it, or give a file")
