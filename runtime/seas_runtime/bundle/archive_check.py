"""What an archive may hold before a byte of it is unpacked: plain files with honest names and sizes."""

from __future__ import annotations

import stat
import unicodedata
import zipfile
from collections.abc import Iterable
from typing import BinaryIO

from seas_runtime.clutter import is_clutter
from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe, is_portable_path

ENTRY_LIMIT = 4096
"""A bundle has a dozen files and a few dozen engines are never packed: far above, and soon read."""
RATIO_LIMIT = 200
"""Unpacked to packed bytes. Weights hardly shrink and manifests 10 times; zeros shrink 1000 times."""
TOTAL_RATIO_LIMIT = 20
DIRECTORY_LIMIT = 4 << 20
"""Bytes of the list of entries: a kilobyte for each."""
SMALL = 1 << 20
"""Bytes below which the ratio does not matter."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED, _UTF8 = 0x1, 0x800
_LOCAL_HEADER = 30


def check_entries(entries: Iterable[zipfile.ZipInfo], where: str) -> list[zipfile.ZipInfo]:
    """Return the files among an archive's entries; refuse what is no plain file with a name of its own.

    Raises UserError that starts with `where` and names the entry: absolute or parent paths, names that mean
    something else on another system, links and devices, two names for one file, encryption, unusual
    compression, sizes that no honest archive has, data that lies twice in one place, too many entries.
    """
    entries = list(entries)
    if len(entries) > ENTRY_LIMIT:
        raise UserError(f"{where}: expected at most {ENTRY_LIMIT} entries, found {len(entries)}; refused")
    files: list[zipfile.ZipInfo] = []
    seen: dict[str, str] = {}
    for entry in entries:
        name = entry.orig_filename  # the other one is cut at a zero byte and has the system's separators
        if any(map(is_clutter, name.split("/"))):
            continue  # what an archiver took along; never unpacked
        place = f"{where}: the entry {describe(name)} is refused"
        is_folder = name.endswith("/")
        _check_name(name.rstrip("/") if is_folder else name, place)
        _check_kind(entry, is_folder, place)
        key = _key(name.rstrip("/"))
        if key in seen:
            raise UserError(f"{place}: {describe(seen[key])} is the same file on some systems")
        seen[key] = name
        _check_size(entry, place)
        if not is_folder:
            files.append(entry)
    _check_total(files, where)
    _check_nesting(files, where)
    _check_overlaps(entries, where)
    return files


def _key(name: str) -> str:
    """What two names have in common that mean one file where case or composition are not told apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_name(name: str, place: str) -> None:
    if not is_portable_path(name):
        raise UserError(
            f"{place}: expected a relative path without '..' that is a file's name on every system"
        )


def _check_kind(entry: zipfile.ZipInfo, is_folder: bool, place: str) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        names = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
        raise UserError(f"{place}: expected a plain file, found {names.get(kind, 'a device or pipe')}")
    if entry.flag_bits & _ENCRYPTED:
        raise UserError(f"{place}: expected a file that anybody can read, found an encrypted one")
    if entry.compress_type not in _METHODS:
        raise UserError(
            f"{place}: expected stored or deflated data, found compression method {entry.compress_type}"
        )


def _check_size(entry: zipfile.ZipInfo, place: str) -> None:
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise UserError(
            f"{place}: stored data of {entry.compress_size} bytes cannot hold {entry.file_size} bytes"
        )
    if entry.file_size > SMALL and entry.file_size > RATIO_LIMIT * entry.compress_size:
        raise UserError(
            f"{place}: {entry.compress_size} bytes that become {entry.file_size} are no weights: expected at "
            f"most {RATIO_LIMIT} times as many"
        )


def _check_total(files: list[zipfile.ZipInfo], where: str) -> None:
    """Refuse many entries that are small each and together what no archive of that size holds."""
    packed, unpacked = sum(item.compress_size for item in files), sum(item.file_size for item in files)
    if unpacked > 8 * SMALL and unpacked > TOTAL_RATIO_LIMIT * packed:
        raise UserError(
            f"{where}: {packed} bytes that become {unpacked} are no bundle: expected at most "
            f"{TOTAL_RATIO_LIMIT} times as many; refused"
        )


def check_directory(file: BinaryIO, where: str) -> None:
    """Refuse an archive whose list of entries is longer than any of ours, before the zip reader holds it.

    The list's size stands at the archive's end, behind which there may be a comment of 64 KiB; in archives of
    over 4 GiB, in a record of 56 bytes before that (PKWARE's APPNOTE, 4.3.14 to 4.3.16).
    """
    file.seek(0, 2)
    start = max(0, file.tell() - (1 << 16) - 256)
    file.seek(start)
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return  # no archive: the zip reader says so
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    large = tail.rfind(b"PK\6\6", 0, end)
    if large >= 0:
        size = max(size % 0xFFFFFFFF, int.from_bytes(tail[large + 40 : large + 48], "little"))
    if size > DIRECTORY_LIMIT:
        raise UserError(
            f"{where}: expected at most {ENTRY_LIMIT} entries, found a list of {size} bytes; refused"
        )


def _check_nesting(files: list[zipfile.ZipInfo], where: str) -> None:
    """Refuse a file that another file's path goes through."""
    keys = {_key(entry.orig_filename) for entry in files}
    for entry in files:
        parts = entry.orig_filename.split("/")
        for depth in range(1, len(parts)):
            if _key("/".join(parts[:depth])) in keys:
                raise UserError(
                    f"{where}: the entry {describe(entry.orig_filename)} is refused: "
                    f"{describe('/'.join(parts[:depth]))} is a file"
                )


def _check_overlaps(entries: list[zipfile.ZipInfo], where: str) -> None:
    """Refuse entries that share bytes, by which few of them become many."""
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise UserError(
                f"{where}: the entry {describe(entry.orig_filename)} is refused: "
                "its data lie inside another's"
            )
        name = len(entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437", "replace"))
        end = entry.header_offset + _LOCAL_HEADER + name + entry.compress_size
