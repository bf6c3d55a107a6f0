"""Reads a bundle: hashes first, contents after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.bundle.external_data import check_external_data
from seas_runtime.bundle.manifest_reading import read_manifest
from seas_runtime.bundle.signature import SIGNATURE_NAME, check_signature_file
from seas_runtime.errors import UserError
from seas_runtime.files import JSON_SIZE_LIMIT, os_errors, parse_json, read_bytes, sha256_file, write_json
from seas_runtime.manifest.schedule import Array, Schedule, schedule_key, schedules_from_tensors
from seas_runtime.manifest.signatures import FLOAT, Expected
from seas_runtime.manifest.types import SCHEDULE, STEP, FileEntry, Manifest
from seas_runtime.methods.contract import Tables
from seas_runtime.methods.table import find_method

MANIFEST_NAME = "manifest.json"
ENGINES_FOLDER = "engines"
CLUTTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # left by file managers that only looked


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was read and checked.

    `fingerprint` is the SHA-256 of its manifest, and through the hashes therein of everything in it.
    `tables` are its method's, by name.
    """

    path: Path
    manifest: Manifest
    fingerprint: str
    tables: Tables
    schedules: Mapping[str, Schedule]

    @classmethod
    def read(cls, path: Path, verify: bool = True, require_signature: Path | None = None) -> Bundle:
        """Read the bundle in folder `path`.

        Schema, sizes and, with `verify`, the hash of every file are checked before anything is parsed
        further; with `require_signature`, a public key, the signature too, and then the hashes always.
        Raises UserError naming the file, what was expected and what was found.
        """
        path = Path(path)
        manifest, fingerprint = read_manifest_file(path)
        if require_signature is not None:
            check_signature_file(path, manifest, fingerprint, require_signature)
            verify = True
        check_files(path, manifest, verify)
        check_external_data(path, manifest)
        tables = {name: _load_tensors(path / file) for name, file in manifest.tables.items()}
        files = {name: str(path / file) for name, file in manifest.tables.items()}
        find_method(manifest.method).check_tables(manifest, tables, files)
        schedules = schedules_from_tensors(tables.pop(SCHEDULE), files[SCHEDULE])
        key = schedule_key(manifest.sampler.name, manifest.sampler.steps)
        if key not in schedules:
            found = ", ".join(schedules) or "nothing"
            raise UserError(f"{files[SCHEDULE]}: expected the default schedule {key!r}, found {found}")
        _check_columns(schedules, manifest, files[SCHEDULE])
        return cls(path, manifest, fingerprint, tables, schedules)

    def graph_path(self, name: str) -> Path:
        """Return the file of a graph; UserError if the bundle has none of that name."""
        graph = self.manifest.graphs.get(name)
        if graph is None:
            raise UserError(
                f"{self.path}: no graph {name!r}: expected one of {', '.join(self.manifest.graphs)}"
            )
        return self.path / graph.file

    def schedule(self, sampler: str | None = None, steps: int | None = None) -> Schedule:
        """Return the schedule of a sampler and its number of steps, the bundle's own by default.

        Raises UserError listing what is there.
        """
        defaults = self.manifest.sampler
        key = schedule_key(sampler or defaults.name, defaults.steps if steps is None else steps)
        if key not in self.schedules:
            raise UserError(
                f"{self.path}: no schedule {key!r} (sampler/steps): "
                f"expected one of {', '.join(self.schedules)}; choose one, or export the bundle with more"
            )
        return self.schedules[key]


def read_manifest_file(path: Path) -> tuple[Manifest, str]:
    """Return manifest and fingerprint of the bundle in folder `path`, reading no other file."""
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise UserError(
            f"{path}: expected a bundle's folder, found {found}; give the folder that export wrote"
        )
    file = path / MANIFEST_NAME
    if file.is_symlink():
        raise UserError(f"{file}: expected a file, found a symbolic link; copy the bundle with its files")
    data = read_bytes(file, "bundle manifest", JSON_SIZE_LIMIT)
    manifest = read_manifest(parse_json(data, f"{file}: bundle manifest"), str(file))
    return manifest, hashlib.sha256(data).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> str:
    """Write the manifest of the bundle in folder `path`; return the bundle's fingerprint."""
    read_manifest(manifest.to_dict(), MANIFEST_NAME)  # what we write, we can read
    write_json(path / MANIFEST_NAME, manifest.to_dict())
    return sha256_file(path / MANIFEST_NAME)


def file_entry(file: Path) -> FileEntry:
    """Return a file's hash and size."""
    return FileEntry(sha256_file(file), file.stat().st_size)


def hash_files(path: Path) -> dict[str, FileEntry]:
    """Return hash and size of every file that a manifest of the bundle in folder `path` must list."""
    return {name: file_entry(path / name) for name in sorted(_list_files(path))}


def check_files(path: Path, manifest: Manifest, verify: bool = True) -> None:
    """Check that a bundle's folder holds the manifest's files and no others, each with its size and hash.

    Without `verify` no hash is computed. Raises UserError naming the first file that differs.
    """
    found = set(_list_files(path))
    advice = "copy or export the bundle again"
    for name, entry in manifest.files.items():
        file = path / name
        if name not in found:
            raise UserError(f"{file}: the file is missing: expected what {MANIFEST_NAME} lists; {advice}")
        size = file.stat().st_size
        if size != entry.size:
            raise UserError(f"{file}: expected {entry.size} bytes, found {size}; {advice}")
    extra = sorted(found - set(manifest.files))
    if extra:
        raise UserError(
            f"{path / extra[0]}: the file is not listed in {MANIFEST_NAME}; remove it, or {advice}"
        )
    if not verify:
        return
    for name, entry in manifest.files.items():
        digest = sha256_file(path / name)
        if digest != entry.sha256:
            raise UserError(f"{path / name}: expected sha256 {entry.sha256}, found {digest}; {advice}")


def _list_files(path: Path) -> Iterator[str]:
    """Yield a bundle's files without manifest, signature and engine cache; refuse links and no files."""
    with os_errors(path, "read"):
        for folder, folders, files in os.walk(path):
            here = Path(folder)
            if here == path:
                folders[:] = [name for name in folders if name != ENGINES_FOLDER]
                files = [name for name in files if name not in (MANIFEST_NAME, SIGNATURE_NAME)]
            for name in (*folders, *files):
                if (here / name).is_symlink():
                    raise UserError(
                        f"{here / name}: expected a file inside the bundle, found a symbolic link; "
                        "copy the bundle with its files"
                    )
            for name in files:
                if name in CLUTTER:
                    continue
                if not (here / name).is_file():
                    raise UserError(f"{here / name}: expected a regular file; remove it")
                yield (here / name).relative_to(path).as_posix()


def _load_tensors(file: Path) -> dict[str, Array]:
    import safetensors.numpy

    with os_errors(file, "read"):
        data = file.read_bytes()
    try:
        tensors: dict[str, Array] = safetensors.numpy.load(data)
    except Exception as error:  # the library raises KeyError, ValueError and others besides its own
        raise UserError(
            f"{file}: expected a safetensors file, found: {error}; export the bundle again"
        ) from error
    return tensors


def _check_columns(schedules: Mapping[str, Schedule], manifest: Manifest, file: str) -> None:
    """Refuse schedules with other columns than the step graph takes."""
    spec = manifest.graphs[STEP].input("schedule")
    for schedule in schedules.values():
        if spec is not None and not Expected(FLOAT, schedule.table.shape).fits(spec):
            raise UserError(
                f"{file}: {schedule.key!r}: expected {list(spec.shape)} as in the step graph, "
                f"found {list(schedule.table.shape)}; export the bundle again"
            )
