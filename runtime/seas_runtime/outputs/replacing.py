"""Makes a folder whole or not at all, in the place of an older one of ours; other files in it stay."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import TEMPORARY_SUFFIX, os_errors
from seas_runtime.outputs.kinds import (
    MARKER,
    Kind,
    behind_link,
    entries,
    mark,
    owned,
    remove,
    some,
    strangers,
)
from seas_runtime.outputs.temporary import sweep, temporary_folder

logger = logging.getLogger(__name__)

_NOT_RENAMED = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.ENOTEMPTY, errno.EEXIST}
"""What the system says of a mount point, of a folder in a container's lower layer, of one in use."""


@contextlib.contextmanager
def replace_directory(path: Path, kind: Kind) -> Iterator[Path]:
    """Yield an empty folder; on success it becomes `path`, in the place of an older folder of this `kind`.

    If the block fails, the new folder is removed and `path` stays as it was. Of an older folder only what a
    command wrote is replaced: where it holds anything else, or cannot be renamed (a mount point, one of a
    container's image), the new files are moved into it one by one, those that make it whole last.

    A process killed between the two renames leaves the older folder under a hidden name, from which the next
    call restores it. An OSError, in the block too, becomes a UserError. A UserError says which files are in
    the way.
    """
    path = real_place(path)
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise UserError(f"{path}: expected a folder or nothing, found a file; choose another path")
        older = _older(path)
        _recover(path, older, kind)
        sweep(path.parent)
        inside = stays(path, kind)
        if inside:
            sweep(path)
        with temporary_folder(path / path.name if inside else path) as fresh:
            yield fresh
            new = entries(fresh)
            if kind.marked:
                mark(fresh, kind, new)
            if inside or stays(path, kind) or not _swap(path, older, fresh):
                _move_into(path, fresh, kind, new)
        _settle(older, kind)


def real_place(path: Path) -> Path:
    """Return where `path` leads: a link to a folder stays one, and what it leads to is written."""
    return path.resolve() if path.is_symlink() else Path(os.path.abspath(path))  # noqa: PTH100


def stays(path: Path, kind: Kind) -> bool:
    """Whether a folder can only be written into: it cannot be renamed, or holds what is not ours."""
    if not path.is_dir():
        return False
    if os.path.ismount(path) or not os.access(path.parent, os.W_OK | os.X_OK):
        return True
    return bool(entries(path, passed_over=True) - (owned(path, kind) or set()))


def try_out(path: Path, kind: Kind) -> None:
    """Make and rename a folder where `replace_directory` will, before any work; UserError if it cannot be."""
    path = real_place(path)
    place = path if stays(path, kind) else path.parent
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        with os_errors(path), temporary_folder(place / path.name) as folder:
            folder.rename(folder.with_name("renamed"))
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def _older(path: Path) -> Path:
    return path.with_name(f".{path.name[:100]}.older{TEMPORARY_SUFFIX}")


def _swap(path: Path, older: Path, fresh: Path) -> bool:
    """Rename `fresh` to `path` and that to `older`; False, and nothing changed, where renaming cannot be."""
    try:
        if path.is_dir():
            path.rename(older)
        fresh.rename(path)
    except OSError as error:
        if older.exists() and not path.exists():
            older.rename(path)
        if error.errno not in _NOT_RENAMED:
            raise
        return False
    except BaseException:
        if older.exists() and not path.exists():
            older.rename(path)
        raise
    return True


def _move_into(path: Path, fresh: Path, kind: Kind, new: set[str]) -> None:
    """Move the new files into a folder that stays, and remove the older ones of ours.

    Meanwhile the list in it names both, so that what an interrupted run leaves is known to be ours.
    """
    path.mkdir(exist_ok=True)
    old = owned(path, kind) or set()
    taken = sorted(
        name for name in new if behind_link(path, name) or (name not in old and os.path.lexists(path / name))
    )
    if taken:
        raise UserError(
            f"{path}: holds files that no command of ours wrote, where ours would go: {some(taken)}. "
            "Move them away, or choose another folder"
        )
    mark(path, kind, old | new, unfinished=True)
    remove(path, old - new - {MARKER}, kind.key)
    if kind.key and kind.key in old:
        (path / kind.key).unlink(missing_ok=True)
    for name in sorted(new, key=lambda name: (name == kind.key, name)):
        if name.endswith("/"):
            (path / name).mkdir(parents=True, exist_ok=True)
            continue
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        _move(fresh / name, path / name)
    if kind.marked:
        _move(fresh / MARKER, path / MARKER)
    else:
        (path / MARKER).unlink()


def _move(source: Path, target: Path) -> None:
    """Move a file, by copying where the system cannot rename it across."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(source, target)


def _recover(path: Path, older: Path, kind: Kind) -> None:
    """Bring back, or clear away, what a killed `replace_directory` left."""
    if older.is_dir() and not path.exists():
        older.rename(path)
    else:
        _settle(older, kind)


def _settle(older: Path, kind: Kind) -> None:
    """Remove the older folder's files of ours, and it; anything else that came into it meanwhile stays."""
    if not older.is_dir() or older.is_symlink():
        return
    with contextlib.suppress(OSError):
        remove(older, owned(older, kind) or (), kind.key)
        older.rmdir()
    if older.exists():
        logger.warning(
            "%s: kept, for it holds what no command of ours wrote: %s", older, some(strangers(older, kind))
        )
