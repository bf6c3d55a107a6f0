"""Files that are compared with a listing, and opened again as the same: what was hashed is what is loaded."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.files import os_errors
from seas_runtime.manifest.types import FileEntry
from seas_runtime.regular import open_regular
from seas_runtime.units import size_words

_BLOCK = 1 << 24
_State = tuple[int, ...]
ADVICE = "copy or export the bundle again"


class CheckedFiles:
    """The files of a folder that are listed with sizes and, where `hashed`, with hashes to compare.

    Every method raises a UserError that names the file, what was expected and what was found.
    """

    def __init__(
        self, folder: Path, entries: Mapping[str, FileEntry], hashed: bool = True, advice: str = ADVICE
    ) -> None:
        self.folder, self.entries, self._hashed, self._advice = folder, entries, hashed, advice
        self._states: dict[str, _State] = {}
        self._digests: dict[str, str] = {}
        self._maps: WeakValueDictionary[tuple[Any, ...], np.ndarray[Any, Any]] = WeakValueDictionary()
        self._lock = Lock()

    def limit(self, name: str, limit: int) -> None:
        """Refuse a file of more than `limit` bytes, before any of it is read."""
        size = self.entries[name].size
        if size > limit:
            raise UserError(
                f"{self.folder / name}: {size_words(size)} are too much for such a file: expected at most "
                f"{size_words(limit)}; {self._advice}"
            )

    def compare(self, name: str) -> None:
        """Compare a file with its listing, and note which file it was."""
        with os_errors(self.folder / name, "read"), self._open(name) as file:
            self._compare(name, file)

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes, at most `limit`: those that were compared, and no others that lie there."""
        self.limit(name, limit)
        path, entry = self.folder / name, self.entries[name]
        with os_errors(path, "read"), self._open(name) as file:
            data = b"".join(iter(lambda: file.read(_BLOCK), b""))
        digest = hashlib.sha256(data).hexdigest()
        expected = entry.sha256 if self._hashed else self._digests.setdefault(name, digest)
        if digest != expected:
            raise self._differs(name, expected, digest)
        return data

    def map(self, name: str) -> np.ndarray[Any, Any]:
        """Return a file's bytes, mapped: of the file that was compared, or compared now if it is another."""
        with os_errors(self.folder / name, "read"), self._open(name) as file:
            if self._hashed and self._states.get(name) != _state(file):
                self._compare(name, file)
            self._states[name] = _state(file)
            if not self.entries[name].size:
                return np.zeros(0, np.uint8)
            key = name, *_state(file)
            with self._lock:  # graphs are loaded side by side, and share their weights' file
                found = self._maps.get(key)
                if found is None:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    found = self._maps[key] = np.frombuffer(mapped, np.uint8)  # holds the map
        return found

    def confirm(self, name: str) -> None:
        """Refuse a file that was written, or moved, since it was mapped: a library may have read another."""
        with os_errors(self.folder / name, "read"), self._open(name) as file:
            if self._states.get(name) != _state(file):
                raise UserError(
                    f"{self.folder / name}: replaced or written while it was loaded; {self._advice}"
                )

    def _open(self, name: str) -> BinaryIO:
        path, entry = self.folder / name, self.entries[name]
        if path.is_symlink():
            raise UserError(f"{path}: expected a file, found a symbolic link; {self._advice}")
        file = open_regular(path, follow=False)
        size = os.fstat(file.fileno()).st_size
        if size != entry.size:
            file.close()
            raise UserError(f"{path}: expected {entry.size} bytes, found {size}; {self._advice}")
        return file

    def _compare(self, name: str, file: BinaryIO) -> None:
        before, digest = _state(file), hashlib.sha256()
        # Few large blocks: after each one another thread may hold the interpreter for a while.
        block = memoryview(bytearray(min(self.entries[name].size, _BLOCK) or 1))
        while count := file.readinto(block):  # type: ignore[attr-defined]
            digest.update(block[:count])
        if digest.hexdigest() != self.entries[name].sha256:
            raise self._differs(name, self.entries[name].sha256, digest.hexdigest())
        if _state(file) != before:
            raise UserError(f"{self.folder / name}: written while it was read; {self._advice}")
        self._states[name] = before

    def _differs(self, name: str, expected: str, found: str) -> UserError:
        return UserError(f"{self.folder / name}: expected sha256 {expected}, found {found}; {self._advice}")


def _state(file: BinaryIO) -> _State:
    """Return which file it is, and as of when: the system sets the last, whoever writes or renames it."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
