"""Whether what a build made is as it was: hashes of outputs, without the files that are not ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.outputs.kinds import MARKER, Kind, entries, owned, remove


def content_digest(path: Path) -> str:
    """A hash of a file's bytes, or of the names and bytes of all files in a folder.

    Raises:
        UserError: it is not there or cannot be read.
    """
    return _hash(path, entries(path)) if path.is_dir() else sha256_file(path)


def folder_digest(kind: Kind) -> Callable[[Path], str]:
    """A hash of the names and bytes of what our commands wrote into a folder of a `kind`.

    It raises UserError where that is no such folder, or a file of it is missing.
    """

    def digest(path: Path) -> str:
        names = owned(path, kind)
        if names is None:
            raise UserError(f"{path}: expected {kind.name}, found none")
        return _hash(path, names - {MARKER})

    return digest


def _hash(folder: Path, names: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for file in sorted(folder / name for name in names if not name.endswith("/")):
        whole.update(f"{file.relative_to(folder).as_posix()}\0{sha256_file(file)}\n".encode())
    return whole.hexdigest()


def dataset_digest(path: Path) -> str:
    """A hash of a data set's description and records, once the files of its pairs are found to be there.

    Raises:
        UserError: they are not.
    """
    from seas_runtime.dataset.layout import DATASET_NAME, RECORDS_NAME, is_pair, pair_paths
    from seas_runtime.dataset.record_file import RecordFile

    records = RecordFile(path / RECORDS_NAME)
    records.load()
    for record in records.records():
        files = pair_paths(record["defect"], record["index"]).values()
        if is_pair(record) and not all((path / file).is_file() for file in files):
            raise UserError(f"{path}: files of pair {record['defect']} {record['index']} are gone")
    return f"{sha256_file(path / DATASET_NAME)} {sha256_file(path / RECORDS_NAME)}"


def clear_damaged(folder: Path, kind: Kind) -> None:
    """Remove what a build made in a folder that has lost the file it is known by; other files stay."""
    if folder.is_dir() and owned(folder, kind) is None:
        remove(folder, kind.matching(folder))


def is_empty(path: Path) -> bool:
    """Whether a folder holds nothing but what systems leave in it."""
    return path.is_dir() and not entries(path)


def bundle_digest(path: Path) -> str:
    """A bundle's fingerprint, once its files are found to be as its manifest says. Engines do not count.

    Raises:
        UserError: it is not a whole bundle.
    """
    from seas_runtime.bundle.reading import check_files, read_manifest_file

    manifest, fingerprint = read_manifest_file(path)
    check_files(path, manifest)
    return fingerprint
