"""Reads an engine's index: what it says of the engine, and why that can be believed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from seas_runtime.bundle.reading import ENGINES_FOLDER
from seas_runtime.engines.engine import ENGINE_NAME, SEALED, SIGNED, Engine
from seas_runtime.engines.errors import EngineDamaged
from seas_runtime.engines.record import INDEX_NAME, INDEX_SIZE_LIMIT, WEIGHTS_NAME, read_record
from seas_runtime.engines.seal import is_sealed
from seas_runtime.errors import UserError
from seas_runtime.files import parse_json, read_bytes, sha256_file


def verify_engine(engine: Engine) -> None:
    """Read an engine whole and compare its hash; EngineDamaged where it differs.

    Weights are part of it; other companions only save time, and are compared where they are read.
    """
    found = sha256_file(engine.file)
    if found != engine.record.file.sha256:
        raise engine.damaged(found)
    entry = engine.record.companions.get(WEIGHTS_NAME)
    if entry is not None:
        weights = engine.folder / WEIGHTS_NAME
        if weights.is_symlink() or not weights.is_file():
            raise engine.damaged("no such file", WEIGHTS_NAME)
        found = sha256_file(weights)
        if found != entry.sha256:
            raise engine.damaged(found, WEIGHTS_NAME)


def read_engine(folder: Path, signed: Mapping[str, str]) -> Engine:
    """Read the index in an engine's folder, and compare all that can be without reading the engine.

    `signed` are hashes of files that the bundle's signature covers; an index has those of all that belongs to
    its engine. Raises EngineDamaged.
    """
    advice = f"remove {folder} and build the engine again"
    index = folder / INDEX_NAME
    if any(path.is_symlink() for path in (folder, index, folder / ENGINE_NAME)):
        raise EngineDamaged(f"{folder}: expected files, found a symbolic link; {advice}", advice)
    try:
        where = f"{index}: engine index"
        data = read_bytes(index, "engine index", INDEX_SIZE_LIMIT)
        value = parse_json(data, where)
        record = read_record(value, where)
    except UserError as error:
        raise EngineDamaged(f"{error}; {advice}", advice) from error
    if folder.name != record.identity.key:
        raise EngineDamaged(
            f"{index}: expected the index of engine {folder.name}, found that of {record.identity.key}; "
            f"{advice}",
            advice,
        )
    file = folder / ENGINE_NAME
    size = file.stat().st_size if file.is_file() else None
    if size != record.file.size:
        found = "nothing" if size is None else f"{size}"
        raise EngineDamaged(f"{file}: expected {record.file.size} bytes, found {found}; {advice}", advice)
    if signed.get(f"{ENGINES_FOLDER}/{folder.name}/{INDEX_NAME}") == hashlib.sha256(data).hexdigest():
        return Engine(folder, record, SIGNED)
    return Engine(folder, record, SEALED if is_sealed(value) else "")
