"""A bundle's engines: a cache under `engines/`, each with an index that holds its size and hash.

    engines/<key>/index.json     what the engine was made of and for, its size and SHA-256
    engines/<key>/engine.bin     the engine, opaque to us
    engines/<key>/weights.bin    its weights, where the engine is a graph that reads them
    engines/<key>/<companion>    what a backend keeps beside it, such as a runtime's own cache

The key is the hash of graph content, target, backend version, devices, precision, batch sizes and builder
options. Nothing here is listed in the bundle's manifest: building engines changes nothing that was hashed.

A serialized engine is a program. So nothing is handed out before its size and hash were compared with an
index that this machine wrote or that was shipped on purpose, and only the bytes that were hashed are.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from seas_runtime.bundle.checked import CheckedFiles
from seas_runtime.bundle.content import GraphContent, Graphs, bundle_size, graphs_of
from seas_runtime.bundle.kind import ENGINE
from seas_runtime.bundle.reading import ENGINES_FOLDER, Bundle, file_entry
from seas_runtime.clutter import is_clutter
from seas_runtime.engines.engine import ENGINE_NAME, SEALED, Engine, machine_identity
from seas_runtime.engines.errors import EngineDamaged, EngineStoreUnwritable
from seas_runtime.engines.index import read_engine, verify_engine
from seas_runtime.engines.lookup import Wanted, choose
from seas_runtime.engines.record import (
    COMPANION_NAME,
    INDEX_NAME,
    WEIGHTS_NAME,
    EngineIdentity,
    EngineRecord,
)
from seas_runtime.engines.seal import seal_of
from seas_runtime.errors import UserError
from seas_runtime.files import (
    atomic_write_bytes,
    os_errors,
    read_bytes,
    write_json,
)
from seas_runtime.manifest.types import FileEntry, Manifest
from seas_runtime.methods.table import find_method
from seas_runtime.outputs.kinds import owned, remove, some, strangers
from seas_runtime.outputs.replacing import replace_directory
from seas_runtime.outputs.temporary import sweep, temporary_folder

logger = logging.getLogger(__name__)


def graph_content(manifest: Manifest, graph: str, graphs: Graphs) -> str:
    """Return the SHA-256 of what a graph computes: its file, and the files that hold its weights.

    The hashes are the manifest's, so nothing but the graph's own file is read. KeyError for a graph that the
    manifest does not have.
    """
    spec = manifest.graphs[graph]
    digest = hashlib.sha256()
    for name in (spec.file, *graphs.check(spec.file, spec).files):
        digest.update(manifest.files[name].sha256.encode())
    return digest.hexdigest()


class EngineStore:
    """The engines of the bundle in folder `bundle`, whose manifest is `manifest`.

    Where a signature was asked for, `signed` has the hashes that it covers, and `find` finds no other engines
    but those and what was built and sealed here.
    """

    def __init__(
        self,
        bundle: Path,
        manifest: Manifest,
        signed: Mapping[str, str] | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        self.bundle = Path(bundle)
        self.folder = self.bundle / ENGINES_FOLDER
        self._manifest, self._signed = manifest, signed
        self._graphs = graphs or graphs_of(CheckedFiles(self.bundle, manifest.files, False), manifest)

    @classmethod
    def of(cls, bundle: Bundle) -> EngineStore:
        """Return the engines of a bundle that was read."""
        return cls(bundle.path, bundle.manifest, bundle.signed, bundle.graphs)

    def content(self, graph: str) -> str:
        """Return the hash of a graph's content; see `graph_content`."""
        return graph_content(self._manifest, graph, self._graphs)

    def find(
        self, graph: str, target: str, backend_version: str, device: str, batch: int | None = None
    ) -> Engine:
        """Return the engine of a graph for one target, backend version and device, its content not read yet.

        Of several, the one of the narrowest batch range that holds `batch`, or that was built last. Its
        index is checked here, its content by `Engine.open`.

        Raises:
            EngineMissing: there is none for this target.
            EngineForeign: there are some, but for other devices, or made on another machine and not shipped,
                or neither signed nor sealed where a signature was asked for.
            EngineStale: there are some, but of another content of the graph or for another backend version.
            EngineWrongBatch: there are some, but for other batch sizes.
            EngineDamaged: there is none with a valid index.
        """
        engines, damaged = self.engines()
        found = [
            engine for engine in engines if (engine.identity.graph, engine.identity.target) == (graph, target)
        ]
        apart = graph not in find_method(self._manifest.method).graphs
        wanted = Wanted(
            self.bundle, graph, target, backend_version, device, batch, apart, self._signed is not None
        )
        if not found and damaged:
            raise damaged[0]
        return choose(found, wanted, lambda: self.content(graph))

    def get(self, identity: EngineIdentity) -> Engine | None:
        """Return the engine of exactly this identity, or None; EngineDamaged if its index is not valid."""
        folder = self.folder / identity.key
        return self._read(folder) if folder.is_symlink() or folder.exists() else None

    def engines(self) -> tuple[tuple[Engine, ...], tuple[EngineDamaged, ...]]:
        """Return all engines, by target and graph, and the errors of those whose index is not valid."""
        found: list[Engine] = []
        damaged: list[EngineDamaged] = []
        for folder in self._folders():
            try:
                found.append(self._read(folder))
            except EngineDamaged as error:
                damaged.append(error)
        found.sort(key=lambda engine: (engine.identity.target, engine.identity.graph, engine.identity.key))
        return tuple(found), tuple(damaged)

    def add(self, record: EngineRecord, file: Path, weights: Path | None = None) -> Engine:
        """Move an engine from `file` into the store, with its weights where they are a file of their own.

        It is there whole, or not at all. `record` is completed here with sizes, hashes, time and origin.
        Raises EngineStoreUnwritable.
        """
        folder = self.folder / record.identity.key
        moved = {ENGINE_NAME: file} if weights is None else {ENGINE_NAME: file, WEIGHTS_NAME: weights}
        with _writing():
            sweep(self.folder)
            whole = replace(
                record,
                file=file_entry(file),
                built_at=time.time(),
                origin=machine_identity(),
                companions={} if weights is None else {WEIGHTS_NAME: file_entry(weights)},
            )
            whole = replace(whole, seal=seal_of(whole.to_dict()))
            with replace_directory(folder, ENGINE) as fresh:
                for name, path in moved.items():
                    shutil.move(path, fresh / name)
                    _flush(fresh / name)
                write_json(fresh / INDEX_NAME, whole.to_dict())
        return Engine(folder, whole, SEALED if whole.seal else "")

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield an empty folder beside the engines for a build's own files; it is removed afterwards.

        Raises EngineStoreUnwritable, before any work is done.
        """
        with contextlib.ExitStack() as stack:
            with _writing():
                folder = stack.enter_context(temporary_folder(self.folder / "build"))
                sweep(self.folder)
            yield folder

    def remove(self, engine: Engine) -> None:
        """Delete an engine and what lies beside it."""
        self._delete(engine.folder)

    def discard(self, key: str) -> None:
        """Delete what lies under a key, valid or not."""
        self._delete(self.folder / key)

    def save_companion(self, engine: Engine, name: str, data: bytes) -> Engine:
        """Keep `data` beside an engine, recorded with its hash; returns the engine with its new record.

        Raises EngineStoreUnwritable, which a backend may pass over: what lies beside an engine only saves
        time. ValueError for a name that is not a plain file name.
        """
        if not COMPANION_NAME.fullmatch(name) or name in (INDEX_NAME, ENGINE_NAME, WEIGHTS_NAME):
            raise ValueError(f"companion name {name!r}")
        entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
        record = replace(engine.record, companions={**engine.record.companions, name: entry}, seal="")
        if engine.trust:  # what was not known to be ours or the owner's does not become so here
            record = replace(record, seal=seal_of(record.to_dict()))
        changed = Engine(engine.folder, record, SEALED if record.seal else "")
        with _writing():
            atomic_write_bytes(engine.folder / name, data)
            write_json(engine.folder / INDEX_NAME, changed.record.to_dict())
        return changed

    def read_companion(self, engine: Engine, name: str) -> bytes | None:
        """Return what lies beside an engine, or None where it is not there or is not what was recorded."""
        entry = engine.record.companions.get(name)
        file = engine.folder / name
        if entry is None or file.is_symlink() or not file.is_file():
            return None
        try:
            data = read_bytes(file, "engine companion", entry.size)
        except UserError:
            return None
        return data if hashlib.sha256(data).hexdigest() == entry.sha256 else None

    def _folders(self) -> Iterator[Path]:
        if self.folder.is_symlink():
            raise EngineDamaged(
                f"{self.folder}: expected a folder, found a symbolic link; remove it and build the engines "
                "again",
                "",
            )
        try:
            names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        except OSError as error:
            raise UserError(f"{self.folder}: cannot read: {error.strerror}") from error
        for name in names:
            if not name.startswith(".") and not is_clutter(name):
                yield self.folder / name

    def _read(self, folder: Path) -> Engine:
        return read_engine(folder, self._signed or {})

    def graph(self, engine: Engine) -> GraphContent:
        """Return an engine that is a graph, checked as a bundle's own, once its hashes have been compared.

        Raises UserError for one that may not be loaded, EngineDamaged where a hash differs.
        """
        self.verify(engine)
        record = engine.record
        listed = {name: entry for name, entry in record.companions.items() if name == WEIGHTS_NAME}
        files = CheckedFiles(engine.folder, {ENGINE_NAME: record.file, **listed}, True, "build it again")
        size = bundle_size(files.entries) + bundle_size(self._manifest.files)
        spec = replace(self._manifest.graphs[engine.identity.graph], file=ENGINE_NAME)
        return Graphs(files, self._manifest.sampler.steps, size).load(ENGINE_NAME, spec)

    def verify(self, engine: Engine) -> None:
        """Read an engine whole and compare its hash; EngineDamaged where it differs.

        Weights are part of it; other companions only save time, and are compared where they are read.
        """
        verify_engine(engine)

    def _delete(self, folder: Path) -> None:
        try:
            if folder.is_symlink():
                folder.unlink()
            elif folder.is_dir():
                remove(folder, owned(folder, ENGINE) or {INDEX_NAME, ENGINE_NAME, WEIGHTS_NAME}, INDEX_NAME)
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
                if folder.is_dir():
                    logger.warning(
                        "%s: kept, for it holds what no command of ours wrote: %s",
                        folder,
                        some(strangers(folder, ENGINE)),
                    )
        except OSError as error:
            raise EngineStoreUnwritable(f"{folder}: cannot be removed: {error.strerror}") from error


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Let the block's UserErrors be EngineStoreUnwritable."""
    try:
        yield
    except UserError as error:
        raise EngineStoreUnwritable(f"the engine cache cannot be written: {error}") from error


def _flush(file: Path) -> None:
    """Have the file on the disk before the index that says so."""
    with os_errors(file), file.open("rb+") as opened:
        os.fsync(opened.fileno())
