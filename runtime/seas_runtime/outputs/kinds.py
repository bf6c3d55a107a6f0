"""Which files in a folder our commands wrote: a list that they leave there, or what the kind is known by."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from seas_runtime.clutter import is_clutter
from seas_runtime.errors import UserError
from seas_runtime.files import is_temporary, os_errors, read_json, write_json

MARKER = ".seas-export.json"
"""Lists what a command wrote into a folder. Earlier versions left none."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder that commands write."""

    name: str
    """With its article, for messages: "a checkpoint"."""
    key: str = ""
    """The file without which it is none; written last and removed first where renaming cannot be."""
    patterns: tuple[str, ...] = ()
    """Paths of what earlier versions wrote, which left no list; `*` stands for a name or a part of one."""
    listed: Callable[[Path], Iterable[str] | None] | None = None
    """Paths that a folder's own records name; None where it is no such folder. In place of `patterns`."""
    marked: bool = True
    """Whether it gets a list; not where its own records are one."""

    def matching(self, folder: Path) -> set[str]:
        """Return the paths in `folder` that `patterns` describe, whether or not it is whole."""
        return {path for path in entries(folder) if any(_matches(path, one) for one in self.patterns)}


def entries(folder: Path, *, passed_over: bool = False) -> set[str]:
    """Return all that lies below `folder`: files, links and empty folders (these with a slash at the end).

    What systems leave behind (`is_clutter`) and temporary files of ours do not count, and are not looked
    into; with `passed_over` they are listed too. Raises UserError where a folder cannot be read: then nobody
    knows what is in it.
    """

    def fail(error: OSError) -> None:
        raise error

    found: set[str] = set()
    with os_errors(folder, "read"):
        for place, folders, files in os.walk(folder, onerror=fail):
            here = Path(place)
            closed = [name for name in folders if _passed_over(name) or (here / name).is_symlink()]
            kept = [name for name in (*files, *closed) if passed_over or not _passed_over(name)]
            folders[:] = [name for name in folders if name not in closed]
            found.update((here / name).relative_to(folder).as_posix() for name in kept)
            if not (files or closed or folders or here == folder):
                found.add(f"{here.relative_to(folder).as_posix()}/")
    return found


def owned(folder: Path, kind: Kind, *, unchanged: bool = False) -> set[str] | None:
    """Return the paths in `folder` that a command wrote for a `kind`; None where it is no such folder.

    With `unchanged` a file that has another size than it was written with is not among them.
    """
    marker = _read_marker(folder)
    if marker is not None:
        if marker["kind"] != kind.name:
            return None
        listed = marker["files"].items()
        return {
            MARKER,
            *(path for path, size in listed if not unchanged or size in (None, _size(folder / path))),
        }
    if kind.key and not _is_file(folder / kind.key):
        return None
    if kind.listed is not None:
        found = kind.listed(folder)
        return None if found is None else {path for path in found if is_inside(path)}
    return kind.matching(folder) or None


def strangers(folder: Path, kind: Kind) -> list[str]:
    """Return what lies in `folder` and no command wrote; everything, where it is no such folder."""
    return sorted(entries(folder) - (owned(folder, kind) or set()))


def mark(folder: Path, kind: Kind, files: Iterable[str], **more: Any) -> None:
    """Write the list of what is ours in a folder, with sizes in bytes; None of what is not there (yet)."""
    sizes = {path: _size(folder / path) for path in sorted({*files} - {MARKER})}
    write_json(folder / MARKER, {"schema": 1, "kind": kind.name, **more, "files": sizes})


def remove(folder: Path, paths: Iterable[str], key: str = "") -> None:
    """Remove these files, first `key` and last the marker, then the folders that are empty without them."""
    given = {path for path in paths if is_inside(path)}
    first, last = [path for path in (key,) if path in given], [path for path in (MARKER,) if path in given]
    for path in (*first, *sorted(given - {key, MARKER}), *last):
        place = folder / path
        if not behind_link(folder, path) and (place.is_symlink() or not place.is_dir()):
            place.unlink(missing_ok=True)
    for parent in sorted(_parents(given), key=len, reverse=True):
        place = folder / parent
        if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
            place.rmdir()


def is_inside(path: str) -> bool:
    """Whether a relative path of a record stays inside of its folder."""
    return bool(path) and all(part not in ("", ".", "..") for part in path.rstrip("/").split("/"))


def _parents(paths: Iterable[str]) -> set[str]:
    return {"/".join(path.split("/")[:end]) for path in paths for end in range(1, path.count("/") + 1)}


def behind_link(folder: Path, path: str) -> bool:
    """Whether a folder on the way to `path` in `folder` is a link: what it leads to is not ours."""
    return any((folder / parent).is_symlink() for parent in _parents([path]))


def _passed_over(name: str) -> bool:
    return is_clutter(name) or is_temporary(name)


def _matches(path: str, pattern: str) -> bool:
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _read_marker(folder: Path) -> dict[str, Any] | None:
    if not _is_file(folder / MARKER):
        return None
    try:
        found = read_json(folder / MARKER, "list of what was written")
    except UserError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return None
    files = found.get("files")
    return found if isinstance(files, dict) and all(map(is_inside, files)) else None


def _size(path: Path) -> int | None:
    return path.stat().st_size if _is_file(path) else None


def some(paths: list[str]) -> str:
    """Return the first few of `paths`, and how many more there are, for a message."""
    from seas_runtime.printable import printable

    shown = ", ".join(printable(path) for path in paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
