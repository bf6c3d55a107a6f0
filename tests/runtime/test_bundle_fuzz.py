"""Whatever a manifest or a bundle's files hold, reading gives a valid bundle or a UserError, nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seas_runtime.bundle.manifest_reading import read_manifest
from seas_runtime.bundle.reading import Bundle, hash_files
from seas_runtime.errors import UserError
from seas_runtime.files import parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["batch", "../x", "a\\b", "C:", "good", "tables/schedule.safetensors", "float32", "step"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FAST = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of every value in a JSON value, but for the whole."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *places(inner, (*path, key))]]


@st.composite
def mutated(draw: st.DrawFn, valid: dict[str, Any]) -> Any:
    """Draw the valid manifest with one to three of its values replaced, removed or renamed."""
    data = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 3))):
        *parents, key = draw(st.sampled_from(places(data)))
        target = data
        for parent in parents:
            target = target[parent]
        action = draw(st.sampled_from(["replace", "remove", "rename"]))
        if action == "replace":
            target[key] = draw(JSON)
        else:
            value = target.pop(key)
            if action == "rename" and isinstance(target, dict):
                target[draw(st.text(max_size=6))] = value
        if not places(data):
            return data
    return data


def outcome(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Return the function's result and "", or None and the message of its UserError."""
    try:
        return function(*arguments), ""
    except UserError as error:
        return None, str(error)


def valid_manifest(bundle: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((bundle / "manifest.json").read_text())
    return data


@FAST
@given(data=st.data())
def test_mutated_manifests(tiny_bundle: Path, data: st.DataObject) -> None:
    manifest, error = outcome(read_manifest, data.draw(mutated(valid_manifest(tiny_bundle))), "manifest.json")
    assert error.startswith("manifest.json") or read_manifest(manifest.to_dict(), "manifest.json") == manifest
    error.encode()  # whatever the manifest holds, its error can be printed


@FAST
@given(value=JSON)
def test_values_that_are_no_manifest(value: Any) -> None:
    with pytest.raises(UserError):
        read_manifest(value, "manifest.json")


@FAST
@given(position=st.integers(0, 10**6), replacement=st.binary(max_size=4), length=st.integers(0, 8))
def test_manifest_bytes(tiny_bundle: Path, position: int, replacement: bytes, length: int) -> None:
    data = (tiny_bundle / "manifest.json").read_bytes()
    position %= len(data)
    value, error = outcome(parse_json, data[:position] + replacement + data[position + length :], "manifest")
    if not error:
        manifest, error = outcome(read_manifest, value, "manifest")
        assert error or manifest.product
    assert error == "" or error.startswith("manifest")


@FAST
@given(data=st.binary(max_size=200))
def test_random_bytes_as_json(data: bytes) -> None:
    value, error = outcome(parse_json, data, "x.json")
    assert error.startswith("x.json is broken") or json.loads(data) == value


@pytest.fixture(scope="module")
def scratch(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose files each example replaces, and which the next example mends."""
    return Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("fuzz") / "bundle"))


FILES = ["graphs/step.onnx", "tables/embeddings.safetensors", "tables/schedule.safetensors"]


@FAST
@given(name=st.sampled_from(FILES), data=st.data())
def test_spoiled_files_with_the_old_hash(
    tiny_bundle: Path, scratch: Path, name: str, data: st.DataObject
) -> None:
    good = (tiny_bundle / name).read_bytes()
    bad = data.draw(st.binary(max_size=100) | spoiled(good))
    (scratch / name).write_bytes(bad)
    _, error = outcome(Bundle.read, scratch)
    (scratch / name).write_bytes(good)
    assert error == "" if bad == good else Path(name).name in error


@FAST
@given(name=st.sampled_from(FILES), data=st.data())
def test_spoiled_files_with_a_matching_hash(
    tiny_bundle: Path, scratch: Path, name: str, data: st.DataObject
) -> None:
    """Reading survives contents that were forged together with their hash."""
    good = (tiny_bundle / name).read_bytes()
    (scratch / name).write_bytes(data.draw(st.binary(max_size=100) | spoiled(good)))
    manifest = valid_manifest(tiny_bundle)
    entries = hash_files(scratch)
    manifest["files"] = {path: {"sha256": e.sha256, "size": e.size} for path, e in entries.items()}
    (scratch / "manifest.json").write_text(json.dumps(manifest))
    bundle, error = outcome(Bundle.read, scratch)
    for file in (name, "manifest.json"):
        (scratch / file).write_bytes((tiny_bundle / file).read_bytes())
    assert str(scratch) in error or bundle.schedule().steps == 5


def spoiled(good: bytes) -> st.SearchStrategy[bytes]:
    """Draw `good` with some bytes changed, or cut."""
    edits = st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), min_size=1, max_size=4)

    def apply(changes: list[tuple[int, int]]) -> bytes:
        data = bytearray(good)
        for position, value in changes:
            data[position] = value
        return bytes(data)

    return edits.map(apply) | st.integers(0, len(good)).map(lambda size: good[:size])


@FAST
@given(
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "bool"]),
    shape=st.lists(st.integers(0, 9), max_size=4),
    key=st.sampled_from(["latents", "good", "dpmpp_2m/5", "dpmpp_2m/5/start", "dpmpp_2m/0", "x"]),
    table=st.sampled_from(["embeddings", "schedule", "references"]),
)
def test_tables_of_any_shape(
    tiny_bundle: Path, scratch: Path, dtype: str, shape: list[int], key: str, table: str
) -> None:
    name = f"tables/{table}.safetensors"
    tensors = safetensors.numpy.load_file(tiny_bundle / name)
    tensors[key] = np.zeros(shape, dtype)
    (scratch / name).write_bytes(safetensors.numpy.save(tensors))
    manifest = valid_manifest(tiny_bundle)
    manifest["files"] = {
        path: {"sha256": entry.sha256, "size": entry.size} for path, entry in hash_files(scratch).items()
    }
    (scratch / "manifest.json").write_text(json.dumps(manifest))
    bundle, error = outcome(Bundle.read, scratch)
    for file in (name, "manifest.json"):
        (scratch / file).write_bytes((tiny_bundle / file).read_bytes())
    if error:
        assert table in error
    else:
        assert bundle.tables["references"]["latents"].shape[1:] == (4, 6, 6)
        assert bundle.schedule().table.shape == (5, 8)
        assert {bundle.tables["embeddings"][key].shape for key in ("good", "stain", "unconditional")} == {
            (5, 3)
        }
