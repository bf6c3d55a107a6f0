"""Which files in a folder are a bundle's: what its manifest lists, its signature, and its engines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seas_runtime.bundle.reading import ENGINES_FOLDER, MANIFEST_NAME
from seas_runtime.bundle.signature import SIGNATURE_NAME
from seas_runtime.errors import UserError
from seas_runtime.files import read_json
from seas_runtime.outputs.kinds import Kind

_INDEX = "index.json"
"""An engine's own list. The names are the engine store's, which knows bundles and is not known here."""
_ENGINE = ("engine.bin", "weights.bin")
_KEY = re.compile(r"[0-9a-f]{16,64}")


def _listed(folder: Path) -> set[str] | None:
    manifest = _object(folder / MANIFEST_NAME)
    files = manifest.get("files")
    if not isinstance(manifest.get("schema"), int) or not isinstance(files, dict):
        return None
    return {MANIFEST_NAME, SIGNATURE_NAME, *map(str, files), *_engines(folder)}


def _engines(folder: Path) -> Iterator[str]:
    engines = folder / ENGINES_FOLDER
    if not engines.is_dir() or engines.is_symlink():
        return
    yield f"{ENGINES_FOLDER}/"  # that it is empty makes it nobody else's
    for engine in engines.iterdir():
        if _KEY.fullmatch(engine.name) and not engine.is_symlink() and engine.is_dir():
            for name in engine_files(engine):
                yield f"{ENGINES_FOLDER}/{engine.name}/{name}"


def engine_files(folder: Path) -> set[str]:
    """Return the names of an engine's files in its folder, from its index; none where that is not one."""
    index = _object(folder / _INDEX)
    companions = index.get("companions")
    if not index:
        return set()
    return {_INDEX, *_ENGINE, *(map(str, companions) if isinstance(companions, dict) else ())}


def _object(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file, "record")
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


BUNDLE = Kind(
    "a bundle",
    MANIFEST_NAME,
    (
        "manifest.json",
        "model.sig",
        "graphs/*.onnx",
        "graphs/*.data",
        "graphs/*.safetensors",
        "tables/*.safetensors",
    ),
    listed=_listed,
    marked=False,
)
ENGINE = Kind("an engine", _INDEX, listed=lambda folder: engine_files(folder) or None, marked=False)
