"""Every bad bundle and request ends in its own clear error: which file or key, what was expected, found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from seas_runtime.bundle.reading import Bundle, hash_files
from seas_runtime.dataset.writing import write_dataset
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.datasets import dataset_request

Spoil = Callable[[Path], None]


def manifest(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """Return what changes a bundle's manifest."""

    def spoil(bundle: Path) -> None:
        data = json.loads((bundle / "manifest.json").read_text())
        change(data)
        (bundle / "manifest.json").write_text(json.dumps(data))

    return spoil


def setting(*keys: Any) -> Spoil:
    """Return what sets a value of the manifest: the keys that lead to it, then the value."""

    def change(data: dict[str, Any]) -> None:
        target: Any = data
        for key in keys[:-2]:
            target = target[key]
        target[keys[-2]] = keys[-1]

    return manifest(change)


def write(name: str, data: bytes, hashed: bool = False) -> Spoil:
    """Return what writes a file, and with `hashed` lists it in the manifest as a careful vandal would."""

    def spoil(bundle: Path) -> None:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(data)
        if hashed:
            entries = {
                path: {"sha256": entry.sha256, "size": entry.size}
                for path, entry in hash_files(bundle).items()
            }
            setting("files", entries)(bundle)

    return spoil


def table(name: str, **changes: Any) -> Spoil:
    """Return what changes a table's tensors; None removes one, `__` in a name stands for `/`."""

    def spoil(bundle: Path) -> None:
        file = bundle / f"tables/{name}.safetensors"
        tensors = safetensors.numpy.load_file(file)
        for key, value in changes.items():
            tensors.pop(key.replace("__", "/"), None)
            if value is not None:
                tensors[key.replace("__", "/")] = value
        write(f"tables/{name}.safetensors", safetensors.numpy.save(tensors), hashed=True)(bundle)

    return spoil


def replace_by_link(name: str) -> Spoil:
    def spoil(bundle: Path) -> None:
        (bundle / name).rename(bundle.parent / "outside")
        (bundle / name).symlink_to(bundle.parent / "outside")

    return spoil


def rename_file(old: str, new: str) -> Spoil:
    """Return what makes the manifest call a file by another path."""

    def change(data: dict[str, Any]) -> None:
        data["files"][new] = data["files"].pop(old)
        data["graphs"]["step"]["file"] = new

    return manifest(change)


def truncate(name: str, size: int) -> Spoil:
    return lambda bundle: os.truncate(bundle / name, size)


def flip_bit(name: str) -> Spoil:
    def spoil(bundle: Path) -> None:
        data = bytearray((bundle / name).read_bytes())
        data[len(data) // 2] ^= 16
        (bundle / name).write_bytes(bytes(data))

    return spoil


def swap_graph(bundle: Path) -> None:
    """Put a graph where another one belongs."""
    write("graphs/decode_image.onnx", (bundle / "graphs/decode_mask.onnx").read_bytes(), hashed=True)(bundle)


def repeat_key(bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace('"tau": 0.2', '"tau": 0.2, "tau": 0.3'))


STEP = "graphs/step.onnx"
NAN = np.full((5, 3), np.nan, np.float32)
BAD_BUNDLES: dict[str, tuple[Spoil, str]] = {
    "manifest missing": (
        lambda b: (b / "manifest.json").unlink(),
        r"manifest\.json: no bundle manifest there",
    ),
    "manifest empty": (write("manifest.json", b""), r"is broken: expected JSON"),
    "manifest cut": (lambda b: os.truncate(b / "manifest.json", 300), r"is broken: expected JSON in UTF-8"),
    "manifest is a list": (write("manifest.json", b"[]"), r"manifest\.json: expected an object, found \[\]"),
    "manifest with NaN": (setting("tau", float("nan")), r"found: NaN, which is not a JSON number"),
    "manifest key twice": (repeat_key, r"the key 'tau' twice in one object"),
    "manifest nested deep": (write("manifest.json", b"[" * 99999), r"nested too deeply"),
    "manifest is a link": (replace_by_link("manifest.json"), r"manifest\.json: .*found a symbolic link"),
    "half of what": (
        setting("half", {"float32": {"unet": [1]}}),
        r"half: expected the names of nodes by part under `float32`, found",
    ),
    "schema of the future": (
        setting("schema", 3),
        r"schema 3 is newer than this version reads \(2\); update seas",
    ),
    "schema of no time": (
        setting("schema", "1"),
        r"\.schema: expected a whole number from 1 to 2, found '1'",
    ),
    "key missing": (manifest(lambda d: d["generation"].pop("tau")), r"the key 'tau' is missing"),
    "key unknown": (setting("colour", "red"), r"unknown key 'colour': remove it, or update"),
    "method unknown": (setting("method", "magic"), r"\.method: expected one of seas, .*found 'magic'"),
    "precision unknown": (
        setting("precision", "int3"),
        r"\.precision: expected one of fp32, fp16, int8, found 'int3'",
    ),
    "tau out of range": (
        setting("generation", "tau", 1.5),
        r"\.generation\.tau: expected a number from 0\.0 to 1\.0, found 1\.5",
    ),
    "steps not whole": (
        setting("sampler", "steps", 2.5),
        r"sampler\.steps: expected a whole number .* found 2\.5",
    ),
    "steps is true": (
        setting("sampler", "steps", True),
        r"sampler\.steps: expected a whole number .* found True",
    ),
    "more masks than steps": (
        setting("generation", "mask_steps", 6),
        r"mask_steps: expected .* from 1 to 5, found 6",
    ),
    "sampler unknown": (
        setting("sampler", "name", "euler"),
        r"expected the default schedule 'euler/5', found ddim",
    ),
    "no defects": (setting("defects", []), r"\.defects: expected at least one defect"),
    "defect called good": (
        setting("defects", ["good"]),
        r"other than good, unconditional, all, found 'good'",
    ),
    "defect leaves folder": (setting("defects", ["../x"]), r"\.defects: expected names usable as folders"),
    "defects alike": (setting("defects", ["A", "a"]), r"differ in more than their case"),
    "prompt missing": (
        manifest(lambda d: d["prompts"].pop("stain")),
        r"\.prompts: expected a text for each of",
    ),
    "product is a path": (setting("product", "a/b"), r"\.product: expected a name usable as a folder"),
    "dtype unknown": (
        setting("graphs", "step", "inputs", 0, "dtype", "float128"),
        r"graphs\.step\.inputs\[0\]\.dtype: expected one of float32, .* found 'float128'",
    ),
    "shape unknown": (
        setting("graphs", "step", "inputs", 0, "shape", [0]),
        r"inputs\[0\]\.shape: expected positive sizes",
    ),
    "graph missing": (
        manifest(lambda d: d["graphs"].pop("decode_mask")),
        r"\.graphs: the graph 'decode_mask' is missing",
    ),
    "graph without context": (
        manifest(lambda d: d["graphs"]["step"]["inputs"].pop(5)),
        r"graphs\.step\.inputs: expected 'context', found latents, ",
    ),
    "latents of another size": (
        setting("latent", "height", 7),
        r"step\.inputs: 'latents': expected float32 \[any, 4, 7, 6\], found float32 \['batch', 4, 6, 6\]",
    ),
    "images of another size": (
        setting("image", "width", 64),
        r"decode_image\.outputs: 'image': expected uint8 \[any, 48, 64, 3\]",
    ),
    "hash malformed": (
        setting("files", STEP, "sha256", "abc"),
        r"sha256: expected 64 lowercase hexadecimal digits",
    ),
    "path absolute": (rename_file(STEP, "/etc/passwd"), r"the path '/etc/passwd' is refused"),
    "path up": (rename_file(STEP, "graphs/../../x"), r"the path 'graphs/\.\./\.\./x' is refused"),
    "path with drive": (rename_file(STEP, "C:x.onnx"), r"the path 'C:x\.onnx' is refused"),
    "path with backslash": (rename_file(STEP, "..\\x"), r"is refused: expected a path inside the bundle"),
    "path with null": (rename_file(STEP, "a\0b"), r"is refused: expected a path inside the bundle"),
    "path empty part": (rename_file(STEP, "graphs//step.onnx"), r"'graphs//step\.onnx' is refused"),
    "path into the cache": (
        rename_file(STEP, "engines/x"),
        r"'engines/x' is refused: the manifest does not list",
    ),
    "graph not hashed": (
        manifest(lambda d: d["files"].pop(STEP)),
        r"graphs\.step\.file: expected a file listed under",
    ),
    "file missing": (lambda b: (b / STEP).unlink(), r"step\.onnx: the file is missing"),
    "file extra": (write("graphs/more.bin", b"x"), r"more\.bin: the file is not listed in manifest\.json"),
    "file cut": (truncate(STEP, 100), r"step\.onnx: expected \d+ bytes, found 100"),
    "file changed": (flip_bit(STEP), r"step\.onnx: expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"),
    "file is a link": (replace_by_link(STEP), r"step\.onnx: .*found a symbolic link"),
    "folder is a link": (replace_by_link("tables"), r"tables: .*found a symbolic link"),
    "file is a pipe": (lambda b: os.mkfifo(b / "pipe"), r"pipe: expected a regular file"),
    "graph empty": (
        write(STEP, b"", hashed=True),
        r"step\.onnx: expected an ONNX graph, found an empty file",
    ),
    "graph is text": (write(STEP, b"hello world", hashed=True), r"step\.onnx: expected an ONNX graph, found"),
    "graph empty but valid": (
        write(STEP, b"\x08\x09", hashed=True),
        r"step\.onnx: expected an ONNX graph, found a model without",
    ),
    "graph of another kind": (
        swap_graph,
        r"decode_image\.onnx: expected the inputs latents as in the manifest",
    ),
    "table is text": (
        write("tables/schedule.safetensors", b"hello world", hashed=True),
        r"schedule\.safetensors: expected a safetensors file",
    ),
    "embedding missing": (table("embeddings", stain=None), r"embeddings\.safetensors: no embedding 'stain'"),
    "embedding of another shape": (
        table("embeddings", stain=np.zeros((5, 4), np.float32)),
        r"'stain': expected float32 or float16 \[5, 3\], found float32 \[5, 4\]",
    ),
    "embedding of integers": (
        table("embeddings", good=np.zeros((5, 3), np.int64)),
        r"'good': expected float32 or float16 \[5, 3\], found int64",
    ),
    "embedding with NaN": (table("embeddings", good=NAN), r"'good': expected finite values"),
    "references missing": (
        table("references", latents=None),
        r"references\.safetensors: no tensor 'latents'",
    ),
    "references none": (
        table("references", latents=np.zeros((0, 4, 6, 6), np.float32)),
        r"'latents': expected float32 \[n, 4, 6, 6\], n >= 1, found float32 \[0, 4, 6, 6\]",
    ),
    "references with infinity": (
        table("references", latents=np.full((1, 4, 6, 6), np.inf, np.float32)),
        r"'latents': expected finite values",
    ),
    "schedule without start": (
        table("schedule", dpmpp_2m__5__start=None),
        r"start of 'dpmpp_2m/5' is missing",
    ),
    "schedule cut": (
        table("schedule", dpmpp_2m__5=np.zeros((4, 8), np.float32)),
        r"'dpmpp_2m/5': expected 5 steps, found 4",
    ),
}


@pytest.mark.parametrize("name", BAD_BUNDLES)
def test_bad_bundle(name: str, own_bundle: Path) -> None:
    spoil, message = BAD_BUNDLES[name]
    spoil(own_bundle)
    with pytest.raises(UserError, match=message) as error:
        Generator.open(own_bundle, threads=1)
    assert str(own_bundle) in str(error.value)


def test_each_case_expects_its_own_message() -> None:
    patterns = [pattern for _, pattern in BAD_BUNDLES.values()]
    shared = {pattern for pattern in patterns if patterns.count(pattern) > 1}
    assert shared == {r"is refused: expected a path inside the bundle"}


@pytest.mark.parametrize(
    "location", ["../../outside.bin", "/etc/passwd", "../tables/none.bin", "missing.bin", "..\\outside.bin"]
)
def test_weights_outside_the_bundle(tmp_path: Path, location: str) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", Toy(weights_file=True, external_location=location))
    with pytest.raises(UserError, match=r"step\.onnx: the path .* of its weights is refused"):
        Bundle.read(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", "expected a bundle's folder, found nothing"),
        ("file", "expected a bundle's folder, found a file"),
    ],
)
def test_no_bundle_there(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=message):
        Bundle.read(tmp_path / path)


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no pairs": ({"count": 0}, "count: expected a whole number from 1 to 1000000, found 0"),
    "too many": ({"count": 10**6 + 1}, "count: expected a whole number from 1 to 1000000, found 1000001"),
    "count not whole": ({"count": 1.5}, "count: expected a whole number .* found 1.5"),
    "count is true": ({"count": True}, "count: expected a whole number .* found True"),
    "batch zero": ({"batch": 0}, "batch: expected a whole number from 1 to 64, found 0"),
    "batch too large": ({"batch": 65}, "batch: expected a whole number from 1 to 64, found 65"),
    "seed negative": ({"seed": -1}, "seed: expected a whole number from 0 to 9223372036854775807, found -1"),
    "seed too large": ({"seed": 2**63}, "seed: expected .* found 9223372036854775808"),
    "guidance negative": (
        {"guidance": -1.0},
        r"guidance: expected a number from 0\.0 to 100\.0, found -1\.0",
    ),
    "guidance NaN": ({"guidance": float("nan")}, "guidance: expected a number .* found nan"),
    "tau over one": ({"tau": 2}, r"tau: expected a number from 0\.0 to 1\.0, found 2"),
    "steps zero": ({"steps": 0}, "steps: expected a whole number from 1 to 1000, found 0"),
    "steps not in bundle": (
        {"steps": 7},
        r"no schedule 'dpmpp_2m/7' \(sampler/steps\): expected one of ddim_eta/4, dpmpp_2m/3, dpmpp_2m/5",
    ),
    "sampler not in bundle": ({"sampler": "euler"}, "no schedule 'euler/5'"),
    "defect unknown": (
        {"defect": "scratch"},
        "defect 'scratch': the bundle does not have it; expected one of broken_large, stain, good",
    ),
    "defect is a path": ({"defect": "../x"}, r"defect '\.\./x': the bundle does not have it"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request(name: str, generator: Generator, tmp_path: Path) -> None:
    options, message = BAD_REQUESTS[name]
    options = {"defect": "stain", "count": 1, **options}
    with pytest.raises(UserError, match=message):
        generator.generate(**options)
    defect = options.pop("defect")
    with pytest.raises(UserError, match=message):
        write_dataset(generator, dataset_request((defect,), **options), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backend": "toaster"},
            "backend 'toaster': expected one of",
        ),
        ({"backend": "abacus"}, "backend 'abacus': expected one of cpu"),
        ({"threads": 0}, "threads: expected a whole number from 1 to 1024, found 0"),
    ],
)
def test_bad_backend(options: dict[str, Any], message: str, tiny_bundle: Path) -> None:
    with pytest.raises(UserError, match=message):
        Generator.open(tiny_bundle, **options)
