"""Reading and writing files so that nothing is ever left half-written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from seas_runtime.errors import UserError
from seas_runtime.printable import unicode_text
from seas_runtime.regular import open_regular
from seas_runtime.units import gib

logger = logging.getLogger(__name__)

TEMPORARY_SUFFIX = ".seas-tmp"
JSON_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes. Far above any file that we write; below what would exhaust a small machine when parsed."""

_TEMPORARY = re.compile(r"\..+\.(?:[0-9a-f]{8}|older)\.seas-tmp", re.DOTALL)
_LONGEST_NAME = 200
_BLOCK = 16 * 1024 * 1024
MARGIN = 64 * 1024 * 1024
"""Bytes asked for on top: tables, graphs, and what else a disk is used for meanwhile."""
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would exceed the size limit of this process or file system",
    errno.EACCES: "permission denied; make the folder writable or choose another one",
    errno.EPERM: "operation not permitted; make the folder writable or choose another one",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EISDIR: "it is a folder; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@contextlib.contextmanager
def os_errors(path: Path, action: str = "write") -> Iterator[None]:
    """Turn an OSError of the block into a UserError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise UserError(f"{path}: cannot {action}: {reason}") from error


def temporary_sibling(path: Path) -> Path:
    """Return an unused hidden name beside `path`, on the same file system so that a rename is atomic."""
    return path.with_name(f".{_shortened(path.name)}.{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")


def is_temporary(name: str) -> bool:
    """Return whether `temporary_sibling` makes such names; a person's `.notes.seas-tmp` is none."""
    return bool(_TEMPORARY.fullmatch(name))


def _shortened(name: str) -> str:
    """A name cut so that what is put around it fits into the 255 bytes that file systems take."""
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[:-1]
    return name


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, making its folder: afterwards the file is there whole, or as it was before.

    Raises UserError if the file system refuses (full, read-only, not a folder).
    """
    temporary = temporary_sibling(path)
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def append_bytes(path: Path, data: bytes, whole: int | None = None) -> int:
    """Append `data` to a file, all of it or none, on the disk on return; return the file's length then.

    `whole` is how much of the file there is to keep: less than its length after a power loss cut what was
    written last. Raises UserError if the file system refuses.
    """
    rest = memoryview(data)
    with os_errors(path), path.open("ab", buffering=0) as file:  # a buffer would write again on close
        length = file.tell()
        try:
            if whole is not None and whole < length:
                os.ftruncate(file.fileno(), whole)
                length = whole
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), length)
            raise
    return length + len(data)


def lines_from(file: BinaryIO, start: int) -> tuple[list[bytes], int]:
    """Return the whole lines of a file from byte `start` on, without their ends, and where the rest begins.

    What a writer has not finished, or was killed at, is the rest.
    """
    file.seek(start)
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.split(b"\n")[:-1], start + len(whole)


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, names that are not Unicode with escapes; as `atomic_write_bytes`."""
    atomic_write_bytes(path, unicode_text(text).encode("utf-8"))


def json_bytes(value: Any) -> bytes:
    """Return `value` as JSON in insertion order, as `write_json` writes it. NaN is a ValueError.

    Bytes of file names that are not UTF-8 become escapes.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if unicode_text(text) != text:  # the backslash of an escape is itself escaped in JSON
        text = "".join(c if unicode_text(c) == c else "\\" + unicode_text(c) for c in text)
    return text.encode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as `json_bytes` gives it; as `atomic_write_bytes`."""
    atomic_write_bytes(path, json_bytes(value))


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file that we call `what` in errors.

    Raises UserError where the file is missing, unreadable, over `JSON_SIZE_LIMIT`, not UTF-8, not JSON, or
    holds what JSON has no meaning for: NaN, infinities, a key given twice, text that is not Unicode.
    """
    return parse_json(read_bytes(path, what, JSON_SIZE_LIMIT), f"{path}: {what}")


def read_bytes(path: Path, what: str, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes, or raise a UserError that calls it `what`."""
    if not path.exists():
        raise UserError(f"{path}: no {what} there: expected a file, found nothing")
    with os_errors(path, "read"), open_regular(path) as file:
        fits = os.fstat(file.fileno()).st_size <= limit  # before a byte of it is read
        data = b"".join(iter(lambda: file.read(_BLOCK), b"")) if fits else b""
    if not fits or len(data) > limit:
        raise UserError(f"{path}: {what} is too large: expected at most {limit} bytes")
    return data


def parse_json(data: bytes, where: str) -> Any:
    """Parse JSON strictly; every error is a UserError that starts with `where`. See `read_json`."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            object_pairs_hook=_object_without_duplicates,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # refuses lone surrogates
    except RecursionError:
        raise UserError(f"{where} is broken: it is nested too deeply to be read") from None
    except ValueError as error:  # includes JSONDecodeError and the Unicode errors
        raise UserError(f"{where} is broken: expected JSON in UTF-8, found: {error}") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]}, which is beyond a float's range")
    return value


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:80]!r} twice in one object")
            seen.add(key)
    return result


def sha256_file(path: Path) -> str:
    """Return a file's SHA-256 as 64 lowercase hexadecimal digits; UserError if it cannot be read."""
    digest = hashlib.sha256()
    with os_errors(path, "read"), open_regular(path) as file:
        # Few large blocks: after each one another thread may hold the interpreter for a while.
        block = memoryview(bytearray(min(os.fstat(file.fileno()).st_size, _BLOCK) or 1))
        while count := file.readinto(block):  # type: ignore[attr-defined]
            digest.update(block[:count])
    return digest.hexdigest()


def expanded(path: Path, where: str) -> Path:
    """Return `path` with `~` and `~name` as that user's folder; UserError, named `where`, for no user."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{where}: {path}: expected the home folder of a user, found none of that name. Write it out"
        ) from error


def nearest_folder(path: Path) -> Path:
    """Return `path`, or the nearest of its parents that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


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


@contextlib.contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Make `folder` and keep other processes out of it while the block runs, where the system can.

    The lock is on the folder itself, so that nothing is written into one that may turn out to be somebody
    else's, and the system lets go of it if we are killed. Raises UserError: `taken` where another process
    holds it, or where it cannot be made.
    """
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with os_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(taken) from None
        except OSError:
            logger.debug("%s: the file system has no locks", folder)
        yield
    finally:
        os.close(handle)
