"""Reads a bundle: hashes first, contents after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from seas_runtime.bundle.checked import ADVICE, CheckedFiles
from seas_runtime.bundle.content import GRAPH_LIMIT, GraphContent, Graphs, graphs_of
from seas_runtime.bundle.manifest_reading import MANIFEST_SIZE_LIMIT, read_manifest
from seas_runtime.bundle.placement.backgrounds import Backgrounds
from seas_runtime.bundle.signature import SIGNATURE_NAME, check_signature_file
from seas_runtime.clutter import is_clutter
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, parse_json, read_bytes, sha256_file, write_json
from seas_runtime.manifest.fields import listed
from seas_runtime.manifest.schedule import Array, Schedule, schedule_key, schedules_from_tensors
from seas_runtime.manifest.signatures import FLOAT, Expected
from seas_runtime.manifest.types import SCHEDULE, STEP, FileEntry, GraphSpec, Manifest
from seas_runtime.methods.contract import Tables
from seas_runtime.methods.table import find_method
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT
from seas_runtime.placement.masks.shapes import Shape, unpack_shapes

MANIFEST_NAME = "manifest.json"
ENGINES_FOLDER = "engines"
TABLE_LIMIT, TABLE_HEADER_LIMIT = 256 << 20, 4 << 20
"""Bytes of a table, which is read whole and held, and of its description. Those of hundreds of normal images
have some ten million."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was read and checked.

    `fingerprint` is the SHA-256 of its manifest, and through the hashes therein of everything in it.
    `tables` are its method's, by name. `graphs` gives them as they were checked. `backgrounds` are
    photographs for placed pairs, decoded when asked for. `signed` has the hashes of
    files of engines that the signature covers, None where no signature was asked for.
    """

    path: Path
    manifest: Manifest
    fingerprint: str
    tables: Tables
    schedules: Mapping[str, Schedule]
    graphs: Graphs = field(repr=False)
    signed: Mapping[str, str] | None = None
    backgrounds: Backgrounds = field(kw_only=True, repr=False)
    contexts: dict[str, Array] = field(default_factory=dict)
    """By prompt of one's own, [L, D]; see `seas_runtime.generation.encoding`."""

    @classmethod
    def read(
        cls, path: Path, verify: bool = True, require_signature: Path | None = None, every: bool = True
    ) -> Bundle:
        """Read the bundle in folder `path`.

        Schema, sizes and, with `verify`, the hash of every file are checked before anything is parsed
        further; with `require_signature`, a public key, the signature too, and then the hashes always.
        Without `every`, graphs that generation does not start with are checked when they are loaded.
        Raises UserError naming the file, what was expected and what was found.
        """
        path = Path(path)
        manifest, fingerprint = read_manifest_file(path)
        signed = None
        if require_signature is not None:
            signed = check_signature_file(path, manifest, fingerprint, require_signature)
            verify = True
        checked = check_files(path, manifest, verify)
        graphs, method = graphs_of(checked, manifest), find_method(manifest.method)
        for name, graph in manifest.graphs.items():
            if every or name in method.graphs:
                graphs.check(graph.file, graph)
        tables = {name: _load_tensors(checked, file) for name, file in manifest.tables.items()}
        files = {name: str(path / file) for name, file in manifest.tables.items()}
        method.check_tables(manifest, tables, files)
        schedules = schedules_from_tensors(tables.pop(SCHEDULE), files[SCHEDULE])
        key = schedule_key(manifest.sampler.name, manifest.sampler.steps)
        if key not in schedules:
            found = listed(schedules) or "nothing"
            raise UserError(f"{files[SCHEDULE]}: expected the default schedule {key!r}, found {found}")
        _check_columns(schedules, manifest, files[SCHEDULE])
        backgrounds = Backgrounds(checked)
        return cls(path, manifest, fingerprint, tables, schedules, graphs, signed, backgrounds=backgrounds)

    @cached_property
    def shapes(self) -> Mapping[str, Sequence[Shape]]:
        """The shapes of its training masks by defect; none in bundles of earlier versions."""
        file = self.path / self.manifest.tables.get(PLACEMENT, "")
        return unpack_shapes(self.tables.get(PLACEMENT, {}), str(file))

    def graph(self, name: str) -> GraphContent:
        """Return what a library loads of a graph; UserError if the bundle has none of that name."""
        spec = self._spec(name)
        return self.graphs.load(spec.file, spec)

    def graph_path(self, name: str) -> Path:
        """Return the file of a graph; UserError if the bundle has none of that name."""
        return self.path / self._spec(name).file

    def _spec(self, name: str) -> GraphSpec:
        graph = self.manifest.graphs.get(name)
        if graph is None:
            raise UserError(f"{self.path}: no graph {name!r}: expected one of {listed(self.manifest.graphs)}")
        return graph

    def schedule(self, sampler: str | None = None, steps: int | None = None) -> Schedule:
        """Return the schedule of a sampler and its number of steps, the bundle's own by default.

        Raises UserError listing what is there.
        """
        defaults = self.manifest.sampler
        key = schedule_key(sampler or defaults.name, defaults.steps if steps is None else steps)
        if key not in self.schedules:
            raise UserError(
                f"{self.path}: no schedule {key!r} (sampler/steps): "
                f"expected one of {listed(self.schedules)}; choose one, or export the bundle with more"
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
    data = read_bytes(file, "bundle manifest", MANIFEST_SIZE_LIMIT)
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


def check_files(path: Path, manifest: Manifest, verify: bool = True) -> CheckedFiles:
    """Check that a bundle's folder holds the manifest's files and no others, each with its size and hash.

    Without `verify` no hash is computed. Raises UserError naming the first file that differs.
    """
    found = set()
    for name in _list_files(path):
        found.add(name)
        if len(found) > 2 * len(manifest.files) + 1000:
            break  # the message below names one of those that are too many
    for name, entry in manifest.files.items():
        file = path / name
        if name not in found:
            raise UserError(f"{file}: the file is missing: expected what {MANIFEST_NAME} lists; {ADVICE}")
        size = file.lstat().st_size
        if size != entry.size:
            raise UserError(f"{file}: expected {entry.size} bytes, found {size}; {ADVICE}")
    extra = sorted(found - set(manifest.files))
    if extra:
        raise UserError(
            f"{path / extra[0]}: the file is not listed in {MANIFEST_NAME}; remove it, or {ADVICE}"
        )
    checked = CheckedFiles(path, manifest.files, verify)
    for table in manifest.tables.values():
        checked.limit(table, TABLE_LIMIT)
    for graph in manifest.graphs.values():
        checked.limit(graph.file, GRAPH_LIMIT)
    Backgrounds(checked)  # too many or too large ones are refused before they are hashed
    for name in manifest.files if verify else ():
        checked.compare(name)
    return checked


def find_clutter(path: Path) -> list[str]:
    """Return what systems and file shares have left in a bundle's folder; nothing of it is ever read."""
    found = []
    with os_errors(path, "read"):
        for folder, folders, files in os.walk(path):
            here = Path(folder).relative_to(path)
            found += [(here / name).as_posix() for name in (*folders, *files) if is_clutter(name)]
            folders[:] = [name for name in folders if not is_clutter(name)]
    return sorted(found)


def _list_files(path: Path) -> Iterator[str]:
    """Yield a bundle's files without manifest, signature, engines and clutter; refuse links and no files."""
    with os_errors(path, "read"):
        for folder, folders, files in os.walk(path):
            here = Path(folder)
            folders[:] = [name for name in folders if not is_clutter(name)]
            if here == path:
                folders[:] = [name for name in folders if name != ENGINES_FOLDER]
                files = [name for name in files if name not in (MANIFEST_NAME, SIGNATURE_NAME)]
            files = [name for name in files if not is_clutter(name)]
            for name in (*folders, *files):
                if (here / name).is_symlink():
                    raise UserError(
                        f"{here / name}: expected a file inside the bundle, found a symbolic link; "
                        "copy the bundle with its files"
                    )
            for name in files:
                if not (here / name).is_file():
                    raise UserError(f"{here / name}: expected a regular file; remove it")
                yield (here / name).relative_to(path).as_posix()


def _load_tensors(checked: CheckedFiles, name: str) -> dict[str, Array]:
    import safetensors.numpy

    file, data = checked.folder / name, checked.read(name, TABLE_LIMIT)
    if int.from_bytes(data[:8], "little") > TABLE_HEADER_LIMIT:
        raise UserError(
            f"{file}: expected a safetensors file, found one whose description is over {TABLE_HEADER_LIMIT} "
            "bytes; export the bundle again"
        )
    try:
        tensors: dict[str, Array] = safetensors.numpy.load(data)
    except Exception as error:  # the library raises KeyError, ValueError and others besides its own
        raise UserError(
            f"{file}: expected a safetensors file, found: {str(error)[:300]}; export the bundle again"
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
