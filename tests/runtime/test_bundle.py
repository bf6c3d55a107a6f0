from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from seas_runtime.bundle.manifest_reading import read_manifest
from seas_runtime.bundle.reading import Bundle, hash_files
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import Licence
from tests.runtime.bundles import Toy, write_tiny_bundle


def test_read(tiny_bundle: Path) -> None:
    bundle = Bundle.read(tiny_bundle)
    assert bundle.fingerprint == hashlib.sha256((tiny_bundle / "manifest.json").read_bytes()).hexdigest()
    assert bundle.tables["references"]["latents"].shape == (7, 4, 6, 6)
    assert set(bundle.tables["embeddings"]) == {"good", "broken_large", "stain", "unconditional"}
    assert bundle.schedule().key == "dpmpp_2m/5"
    assert bundle.schedule(steps=3).key == "dpmpp_2m/3"
    assert bundle.schedule("ddim_eta", 4).noisy_steps
    assert bundle.graph_path("step") == tiny_bundle / "graphs/step.onnx"


def test_manifest_round_trip(tiny_bundle: Path) -> None:
    data = json.loads((tiny_bundle / "manifest.json").read_text())
    manifest = read_manifest(data, "manifest.json")
    assert manifest.to_dict() == data
    assert manifest.licences == (Licence("Apache-2.0", "the toy"),)
    assert list(data)[:4] == ["schema", "method", "product", "defects"]


def test_a_bundle_can_be_moved(own_bundle: Path, tmp_path: Path) -> None:
    moved = own_bundle.rename(tmp_path / "with a space \u00fc")
    assert Bundle.read(moved).path == moved


def test_the_engine_cache_is_no_part_of_it(own_bundle: Path) -> None:
    before = Bundle.read(own_bundle).fingerprint
    (own_bundle / "engines/abc").mkdir(parents=True)
    (own_bundle / "engines/abc/step.engine").write_bytes(b"compiled")
    assert Bundle.read(own_bundle).fingerprint == before
    assert "engines/abc/step.engine" not in hash_files(own_bundle)


def test_what_a_file_manager_leaves_is_no_part_of_it(own_bundle: Path) -> None:
    (own_bundle / "graphs/.DS_Store").write_bytes(b"x")
    assert Bundle.read(own_bundle).manifest.product == "bottle"


def test_without_verify_contents_are_still_checked(own_bundle: Path) -> None:
    file = own_bundle / "graphs/step.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # the opset's number: still a graph, another hash
    file.write_bytes(bytes(data))
    assert Bundle.read(own_bundle, verify=False).manifest.product == "bottle"


def test_external_weights_are_found(tmp_path: Path) -> None:
    path = write_tiny_bundle(tmp_path / "bundle", Toy(weights_file=True))
    bundle = Bundle.read(path)
    assert list(bundle.graph("step").maps) == ["weights.bin"]
    assert list(bundle.graph("decode_mask").maps) == []
    with_file = list(Generator.open(path, threads=1).generate("stain", 1, gate=False))
    inline = list(
        Generator.open(write_tiny_bundle(tmp_path / "inline"), threads=1).generate("stain", 1, gate=False)
    )
    assert np.array_equal(with_file[0].image, inline[0].image)
