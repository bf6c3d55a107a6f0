"""Packs a bundle into one file that travels, and unpacks one that came from anywhere.

The file is a zip because every system and Python itself reads it, and stored rather than compressed because
half-precision weights do not shrink. The engine cache stays behind: it belongs to a machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from seas_runtime.bundle.archive_check import check_directory, check_entries
from seas_runtime.bundle.kind import BUNDLE
from seas_runtime.bundle.manifest_reading import MANIFEST_SIZE_LIMIT, read_manifest
from seas_runtime.bundle.reading import MANIFEST_NAME, Bundle
from seas_runtime.bundle.signature import SIGNATURE_NAME, SIGNATURE_SIZE_LIMIT, check_signature
from seas_runtime.errors import UserError
from seas_runtime.files import (
    os_errors,
    parse_json,
    require_space,
    sha256_file,
)
from seas_runtime.manifest.fields import describe
from seas_runtime.manifest.types import Manifest
from seas_runtime.outputs.checking import check_file, check_out
from seas_runtime.outputs.replacing import replace_directory
from seas_runtime.outputs.temporary import temporary_folder
from seas_runtime.regular import open_regular

_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first; the same bundle is packed to the same bytes
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Packed:
    """A bundle in one file: its SHA-256 and size in bytes, and the bundle's fingerprint and files."""

    path: Path
    sha256: str
    size: int
    fingerprint: str
    files: int
    signed: bool


def pack_bundle(bundle: Path, archive: Path, force: bool = False) -> Packed:
    """Pack the bundle in folder `bundle`, once its hashes have been checked, into the file `archive`.

    The same bundle gives the same bytes. Raises UserError for a bundle that is not whole, an archive that
    is there already (without `force`) or would lie inside the bundle, or a disk that refuses.
    """
    check_file(archive, "a packed bundle", _is_packed, force=force, inputs={"the bundle": bundle})
    content = Bundle.read(bundle)
    signed = (bundle / SIGNATURE_NAME).is_file()
    names = [MANIFEST_NAME, *([SIGNATURE_NAME] if signed else []), *sorted(content.manifest.files)]
    with os_errors(archive), temporary_folder(archive) as folder:
        packed = folder / archive.name
        with zipfile.ZipFile(packed, "x", zipfile.ZIP_STORED, allowZip64=True) as opened:
            for name in names:
                _pack_file(opened, bundle / name, name)
        digest, size = sha256_file(packed), packed.stat().st_size
        packed.replace(archive)
    return Packed(archive, digest, size, content.fingerprint, len(content.manifest.files), signed)


def unpack_bundle(
    archive: Path,
    out: Path,
    *,
    sha256: str | None = None,
    require_signature: Path | None = None,
    force: bool = False,
) -> Bundle:
    """Unpack the file `archive` into the folder `out`, which appears whole and checked or not at all.

    Nothing of the archive is believed: names, sizes and hashes must be those of its manifest, which is
    checked first. `sha256` is what the archive's own hash must be, `require_signature` a public key that its
    signature must fit. An existing `out` is replaced only with `force`. Raises UserError naming the entry,
    what was expected and what was found; nothing is then written.
    """
    if not archive.is_file():
        found = "a folder" if archive.is_dir() else "nothing"
        raise UserError(f"{archive}: expected a packed bundle, found {found}; give the file that pack wrote")
    check_out(out, BUNDLE, force=force, inputs={"FILE": archive})
    if sha256 is not None and (found := sha256_file(archive)) != sha256.strip().lower():
        raise UserError(
            f"{archive}: expected sha256 {sha256}, found {found}; copy it again, or do not use it"
        )
    with _opened(archive) as opened:
        entries = {entry.orig_filename: entry for entry in check_entries(opened.infolist(), str(archive))}
        manifest, fingerprint = _read_manifest(opened, entries, archive)
        _check_listing(entries, manifest, archive)
        if require_signature is not None:
            if SIGNATURE_NAME not in entries:
                raise UserError(f"{archive}: a signature was asked for and there is none; take a signed copy")
            data = _read_entry(opened, entries[SIGNATURE_NAME], SIGNATURE_SIZE_LIMIT, archive)
            place = f"{archive}: {SIGNATURE_NAME}"
            check_signature(data, place, manifest, fingerprint, require_signature)
        require_space(out, sum(entry.file_size for entry in entries.values()), "the bundle")
        with replace_directory(out, BUNDLE) as fresh, _named(fresh, out):
            for name, entry in entries.items():
                expected = manifest.files[name].sha256 if name in manifest.files else None
                _unpack_file(opened, entry, fresh / name, expected, archive)
            Bundle.read(
                fresh, verify=False
            )  # hashes were checked while writing; this reads tables and graphs
    return Bundle.read(out, verify=False)


def _is_packed(file: Path) -> bool:
    """Whether a file is a bundle that `pack_bundle` wrote."""
    try:
        with _opened(file) as opened:
            entries = {entry.orig_filename: entry for entry in check_entries(opened.infolist(), str(file))}
            manifest, _ = _read_manifest(opened, entries, file)
            _check_listing(entries, manifest, file)
    except UserError:
        return False
    return True


def _pack_file(opened: zipfile.ZipFile, file: Path, name: str) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3  # Unix on every system, for the same bytes
    info.external_attr = 0o100644 << 16
    info.file_size = file.stat().st_size  # by which zipfile knows whether it needs 64-bit sizes
    with file.open("rb") as source, opened.open(info, "w") as target:
        shutil.copyfileobj(source, target, _BLOCK)


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; whatever the zip reader stumbles over becomes a UserError."""
    try:
        with os_errors(archive, "read"), open_regular(archive) as raw:
            check_directory(raw, str(archive))
            with io.BufferedReader(cast(io.RawIOBase, raw)) as file, zipfile.ZipFile(file) as opened:
                yield opened
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OverflowError,
    ) as error:
        if isinstance(error, RecursionError):
            raise
        raise UserError(
            f"{archive}: expected a packed bundle, found a broken zip file: {error}; copy it again"
        ) from error


def _read_manifest(
    opened: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], archive: Path
) -> tuple[Manifest, str]:
    if MANIFEST_NAME not in entries:
        raise UserError(
            f"{archive}: expected {MANIFEST_NAME} at the top of a packed bundle, found "
            f"{', '.join(describe(name) for name in sorted(entries)[:3]) or 'nothing'}"
        )
    data = _read_entry(opened, entries[MANIFEST_NAME], MANIFEST_SIZE_LIMIT, archive)
    where = f"{archive}: {MANIFEST_NAME}"
    return read_manifest(parse_json(data, where), where), hashlib.sha256(data).hexdigest()


def _read_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int, archive: Path) -> bytes:
    """Read a small entry whole, never more than `limit` bytes of it whatever its header says."""
    with opened.open(entry) as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise UserError(f"{archive}: {entry.orig_filename}: expected at most {limit} bytes")
    return data


def _check_listing(entries: dict[str, zipfile.ZipInfo], manifest: Manifest, archive: Path) -> None:
    """Check that the archive holds what its manifest lists, each in its size, and nothing else."""
    for name, listed in manifest.files.items():
        if name not in entries:
            raise UserError(
                f"{archive}: {describe(name)} is listed in {MANIFEST_NAME} and missing; copy it again"
            )
        if entries[name].file_size != listed.size:
            raise UserError(
                f"{archive}: {describe(name)}: expected {listed.size} bytes, found {entries[name].file_size}"
            )
    extra = sorted(set(entries) - {MANIFEST_NAME, SIGNATURE_NAME} - set(manifest.files))
    if extra:
        raise UserError(f"{archive}: {describe(extra[0])} is not listed in {MANIFEST_NAME}; refused")


def _unpack_file(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path, sha256: str | None, archive: Path
) -> None:
    """Write one entry to a new file: not a byte more than it said, and with the manifest's hash."""
    file.parent.mkdir(parents=True, exist_ok=True)
    place = f"{archive}: {describe(entry.orig_filename)}"
    with opened.open(entry) as source, file.open("xb") as target:
        digest = _copy(source, target, entry.file_size, place)
    if sha256 is not None and digest != sha256:
        raise UserError(f"{place}: expected sha256 {sha256}, found {digest}; copy the archive again")


def _copy(source: IO[bytes], target: IO[bytes], size: int, place: str) -> str:
    digest, left = hashlib.sha256(), size
    while block := source.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise UserError(f"{place}: expected {size} bytes, found more; refused")
        digest.update(block)
        target.write(block)
    if left:
        raise UserError(f"{place}: expected {size} bytes, found {size - left}; copy the archive again")
    return digest.hexdigest()


@contextlib.contextmanager
def _named(fresh: Path, out: Path) -> Iterator[None]:
    """Let errors name the folder that was asked for, not the one beside it that will be gone."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(fresh), str(out))) from error
