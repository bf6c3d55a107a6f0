from __future__ import annotations

import gc
import importlib.metadata
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from seas_export.export import ExportResult, export_bundle
from seas_export.export import bundle as bundling
from seas_export.export.provenance import provenance
from seas_export.methods.seas.parts import PART_NAMES
from seas_runtime.bundle.reading import MANIFEST_NAME, Bundle
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import ENCODE_IMAGE, STEP_UNGUIDED
from seas_runtime.methods.seas import GRAPHS
from seas_train import Checkpoint, load_checkpoint
from tests.export.conftest import STEPS
from tests.kept import evidence

Export = Callable[..., ExportResult]


def test_bundle_says_what_it_is(exported: ExportResult, checkpoint: Checkpoint) -> None:
    content = Bundle.read(exported.bundle)  # verifies schema, hashes and signatures
    manifest = content.manifest
    assert content.fingerprint == exported.fingerprint
    assert (manifest.product, manifest.defects) == ("widget", ("chip", "scratch"))
    assert (manifest.precision, manifest.target, manifest.opset) == ("fp32", "cpu", 20)
    assert manifest.sampler.steps == STEPS
    assert manifest.sampler.guidance == 3.0
    assert manifest.tau == 0.5
    assert manifest.prompts == checkpoint.prompts
    assert set(manifest.graphs) == {*PART_NAMES, *GRAPHS, STEP_UNGUIDED, ENCODE_IMAGE}
    assert manifest.generation["blend"] == "fixed"
    assert manifest.provenance["checkpoint"] == checkpoint.fingerprint
    assert manifest.provenance["base"] == checkpoint.meta["base"]
    assert manifest.provenance["packages"]["torch"] == torch.__version__.split("+")[0] or torch.__version__
    assert manifest.licences[0].name == checkpoint.meta["base"]["licence"]


def test_the_bundle_is_the_same_bytes_as_ever(exported: ExportResult) -> None:
    expected = evidence.read("expected_export.json")
    if evidence.versions(*expected["versions"]) != expected["versions"]:
        pytest.skip(f"the kept hashes are of {expected['versions']}")
    here = evidence.processor() == expected["processor"]
    differing = evidence.exported_alike(exported.bundle, expected["files"], here)
    assert set(differing) <= evidence.BLENDS


def test_only_the_batch_is_dynamic(exported: ExportResult) -> None:
    manifest = Bundle.read(exported.bundle).manifest
    for graph in manifest.graphs.values():
        for tensor in (*graph.inputs, *graph.outputs):
            names = [size for size in tensor.shape if isinstance(size, str)]
            assert names in (["batch"], ["steps"], []), (graph.file, tensor)
            assert names or tensor.name in ("timestep", "step_index", "guidance", "negative_context"), tensor


def test_tables_are_the_checkpoints(exported: ExportResult, checkpoint: Checkpoint) -> None:
    content = Bundle.read(exported.bundle)
    prompts = {**checkpoint.prompts, "unconditional": ""}
    assert set(content.tables["embeddings"]) == set(prompts)
    for key, prompt in prompts.items():
        assert np.abs(content.tables["embeddings"][key] - checkpoint.context(prompt)[0].numpy()).max() < 1e-6
    assert np.array_equal(content.tables["references"]["latents"], checkpoint.references.numpy())
    assert f"dpmpp_2m/{STEPS}" in content.schedules


def test_parity_is_in_the_manifest(exported: ExportResult) -> None:
    assert exported.parity is not None
    assert exported.parity.passed
    assert Bundle.read(exported.bundle).manifest.parity == exported.parity.to_dict()
    assert exported.to_dict()["parity"]["passed"]
    assert "mask IoU" in exported.to_text()


def test_bundle_generates_pairs(generator: Generator) -> None:
    pairs = list(generator.generate("scratch", 2, gate=False))
    assert all(pair.image.shape == (64, 64, 3) for pair in pairs)
    assert all(0.01 < (pair.mask > 0).mean() < 0.99 for pair in pairs)
    assert not np.array_equal(pairs[0].image, pairs[1].image)


def test_same_export_is_the_same_bundle(
    traced: Export, exported: ExportResult, checkpoint_folder: Path, tmp_path: Path
) -> None:
    again = traced(checkpoint_folder, tmp_path / "one", steps=STEPS)
    other = traced(checkpoint_folder, tmp_path / "two", steps=STEPS)
    assert again.fingerprint == other.fingerprint
    first, second = (Bundle.read(result.bundle).manifest for result in (exported, again))
    assert first.graphs == second.graphs
    assert {name: entry for name, entry in first.files.items() if name.startswith("tables/")} == {
        name: entry for name, entry in second.files.items() if name.startswith("tables/")
    }


def test_progress_names_every_part(traced: Export, checkpoint_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    traced(checkpoint_folder, tmp_path / "bundle", parity=False, progress=said.append)
    assert all(any(name in line for line in said) for name in (*PART_NAMES, "compose", "write"))


def test_without_parity_none_is_claimed(traced: Export, checkpoint_folder: Path, tmp_path: Path) -> None:
    result = traced(checkpoint_folder, tmp_path / "bundle", parity=False)
    assert result.parity is None
    assert Bundle.read(result.bundle).manifest.parity == {}
    assert "not measured" in result.to_text()


def test_force_replaces_a_bundle_whole(traced: Export, checkpoint_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    traced(checkpoint_folder, out, parity=False, steps=5)
    (out / "engines").mkdir()
    traced(checkpoint_folder, out, parity=False, steps=6, force=True)
    assert Bundle.read(out).manifest.sampler.steps == 6
    assert not (out / "engines").exists()
    assert (out / MANIFEST_NAME).is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_versions_are_told_whatever_brought_onnx_runtime(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU's machine the package comes as onnxruntime-gpu."""

    def no_such_distribution(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", no_such_distribution)
    assert provenance(checkpoint.meta)["packages"]["onnxruntime"] == onnxruntime.__version__


def test_pytorchs_weights_are_freed_before_the_graphs_are_loaded(
    checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the collector has not come by: at full size they are gigabytes, and few objects."""
    alive: list[weakref.ref[torch.Tensor]] = []

    def load(path: Path) -> Checkpoint:
        loaded = load_checkpoint(path)
        alive.append(weakref.ref(next(loaded.unet.parameters())))
        return loaded

    class Reached(Exception):
        pass

    def compare(folder: Path, expected: object) -> None:
        raise Reached(alive[0]() is None)

    monkeypatch.setattr(bundling, "load_checkpoint", load)
    monkeypatch.setattr(bundling.parity_figures, "compare", compare)
    gc.disable()
    try:
        with pytest.raises(Reached, match="True"):
            export_bundle(checkpoint_folder, tmp_path / "bundle", steps=STEPS)
    finally:
        gc.enable()
