"""Reads a bundle: hashes first, contents after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seas_runtime.bundle.external_data import check_external_data
from seas_runtime.bundle.signature import SIGNATURE_NAME, check_signature_file
from seas_runtime.errors import UserError
from seas_runtime.files import JSON_SIZE_LIMIT, os_errors, parse_json, read_bytes, sha256_file, write_json
from seas_runtime.manifest.reading import read_manifest
from seas_runtime.manifest.schedule import Array, FloatArray, Schedule, schedule_key, schedules_from_tensors
from seas_runtime.manifest.types import GOOD, STEP, UNCONDITIONAL, FileEntry, Manifest

MANIFEST_NAME = "manifest.json"
ENGINES_FOLDER = "engines"
CLUTTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # left by file managers that only looked


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was read and checked.

    `fingerprint` is the SHA-256 of its manifest, and through the hashes therein of everything in it.
    `embeddings` holds a context [L, D] per prompt and one for `unconditional`; `references` are unscaled
    latents [n, C, h, w] float32 of normal images.
    """

    path: Path
    manifest: Manifest
    fingerprint: str
    embeddings: Mapping[str, Array]
    schedules: Mapping[str, Schedule]
    references: FloatArray

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
        files = {name: path / file for name, file in manifest.tables.items()}
        _check_embeddings(files["embeddings"], tables["embeddings"], manifest)
        _check_references(files["references"], tables["references"], manifest)
        schedules = schedules_from_tensors(tables["schedule"], str(files["schedule"]))
        key = schedule_key(manifest.sampler.name, manifest.sampler.steps)
        if key not in schedules:
            found = ", ".join(schedules) or "nothing"
            raise UserError(f"{files['schedule']}: expected the default schedule {key!r}, found {found}")
        return cls(
            path, manifest, fingerprint, tables["embeddings"], schedules, tables["references"]["latents"]
        )

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


def _check_embeddings(file: Path, embeddings: Mapping[str, Array], manifest: Manifest) -> None:
    context = manifest.graphs[STEP].input("context")
    shape = context.shape[1:] if context else ()
    expected: tuple[int, ...] | None = None
    for key in (GOOD, *manifest.defects, UNCONDITIONAL):
        if key not in embeddings:
            raise UserError(f"{file}: no embedding {key!r}; export the bundle again")
        array = embeddings[key]
        fits = (
            array.ndim == 2
            and array.size > 0
            and len(shape) == 2
            and all(
                isinstance(want, str) or want == size for want, size in zip(shape, array.shape, strict=True)
            )
            and (expected is None or array.shape == expected)
        )
        if not fits or array.dtype not in (np.float32, np.float16):
            raise UserError(
                f"{file}: {key!r}: expected float32 or float16 {list(expected or shape)}, "
                f"found {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {key!r}: expected finite values, found NaN or infinity")
        expected = array.shape


def _check_references(file: Path, tables: Mapping[str, Array], manifest: Manifest) -> None:
    latent = manifest.latent
    geometry = (latent.channels, latent.height, latent.width)
    array = tables.get("latents")
    if array is None:
        raise UserError(f"{file}: no tensor 'latents'; export the bundle again")
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[1:] != geometry or not len(array):
        raise UserError(
            f"{file}: 'latents': expected float32 [n, {', '.join(map(str, geometry))}], n >= 1, "
            f"found {array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise UserError(f"{file}: 'latents': expected finite values, found NaN or infinity")
