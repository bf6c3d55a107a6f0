"""fp16 bundles: what a model needs in float32 is found by measuring it, and the rest is half."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from seas_engines.building.compile import compile_bundle
from seas_engines.targets.options import EngineOptions
from seas_export.bundles.describe import describe_bundle, in_words
from seas_export.bundles.differences import compare_bundles
from seas_export.export import ExportResult, export_bundle
from seas_export.graphs.graph_builder import origin
from seas_runtime.backends.onnxruntime.graph_files import graph_file
from seas_runtime.bundle.reading import MANIFEST_NAME, Bundle
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import MARGIN
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import ENCODE_IMAGE, STEP_UNGUIDED
from seas_runtime.methods.seas import GRAPHS
from seas_train.bases.base import Base
from seas_train.methods.seas.mask_head.network.head import MaskHead
from tests.engines.cuda_operators import beside_the_bundles, in_standard_operators
from tests.export.checkpoints import write_tiny_checkpoint
from tests.export.conftest import STEPS, already_traced, needs_rtx

pytestmark = pytest.mark.slow
Usage = namedtuple("Usage", "total used free")
GAIN = 1e6
"""Takes a convolution's values far past 65504, the largest half; the norm behind it takes that back."""
BLOCKS = {
    "vae.decoder.mid_block.resnets.0": ("conv1",),
    "unet.mid_block.resnets.0": ("conv1", "time_emb_proj"),
}
INFLATED = {f"{block}.{layer}": GAIN for block, layers in BLOCKS.items() for layer in layers}


def write_inflated(folder: Path, gains: Mapping[str, float]) -> Path:
    """Write the tiny checkpoint with some layers so much larger."""

    def inflate(base: Base, head: MaskHead) -> None:
        models = {"unet": base.unet, "vae": base.vae, "mask_head": head}
        for name, gain in gains.items():
            model, _, layer = name.partition(".")
            module: Any = models[model].get_submodule(layer)
            with torch.no_grad():
                module.weight.mul_(gain)
                if module.bias is not None:
                    module.bias.mul_(gain)

    return write_tiny_checkpoint(folder, change=inflate)


@pytest.fixture(scope="module")
def half(
    exported: ExportResult, checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    out = tmp_path_factory.mktemp("half") / "bundle"
    with already_traced(exported.bundle):
        return export_bundle(checkpoint_folder, out, precision="fp16", steps=STEPS)


@pytest.fixture(scope="module")
def inflated(exported: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    folder = tmp_path_factory.mktemp("inflated")
    checkpoint = write_inflated(folder, INFLATED)
    with already_traced(exported.bundle, INFLATED):
        return export_bundle(checkpoint, folder / "bundle", precision="fp16", steps=STEPS)


def floats(bundle: Path, graph: str) -> dict[str, str]:
    """Node -> dtype of what it gives, of a graph's products and convolutions."""
    model = ir.load(bundle / "graphs" / f"{graph}.onnx")
    heavy = ("Conv", "MatMul", "Gemm", "MultiHeadAttention")
    return {
        str(node.name): str(node.outputs[0].dtype or "?") for node in model.graph if node.op_type in heavy
    }


def test_half_precision(half: ExportResult, exported: ExportResult) -> None:
    """fp16 halves the weights, keeps latents and tables in float32, and passes its own bounds."""
    manifest = Bundle.read(half.bundle).manifest
    assert manifest.precision == "fp16"
    tensors = (*manifest.graphs["step"].inputs, *manifest.graphs["step"].outputs)
    dtypes = {tensor.name: tensor.dtype for tensor in tensors}
    halves = {"context", "negative_context", "tap_coarse", "tap_fine"}
    assert {name for name, dtype in dtypes.items() if dtype == "float16"} == halves
    assert (
        dtypes["latents"] == dtypes["schedule"] == dtypes["guidance"] == dtypes["next_latents"] == "float32"
    )
    sizes = [(result.bundle / "graphs" / "weights.bin").stat().st_size for result in (half, exported)]
    assert sizes[0] < 0.55 * sizes[1]
    assert half.parity is not None
    assert half.parity.passed
    assert next(row.value for row in half.parity.pipeline if "PSNR" in row.figure) > 50
    assert max(row.relative for row in half.parity.graphs) > 1e-5  # it is half


def test_a_tame_model_is_half_throughout_and_the_manifest_says_so(half: ExportResult) -> None:
    chosen = Bundle.read(half.bundle).manifest.half
    assert {part: names for part, names in chosen["float32"].items() if part != "text_encoder"} == {
        "unet": [],
        "vae_encoder": [],
        "vae_decoder": [],
        "mask_head": [],
    }
    assert set(chosen["measured"]) == {*GRAPHS, "encode_image", "text_encoder"}
    for figures in chosen["measured"].values():
        assert 1e-4 < figures["error"] < 5e-3  # half, and no more than its rounding
        assert 1 < figures["largest"] < 100
    assert chosen["pairs"]["psnr"] > 50
    assert set(floats(half.bundle, "decode_image").values()) == {"FLOAT16"}


def test_weights_are_stored_once(half: ExportResult) -> None:
    """Composed graphs read the parts' own half weights."""
    places = {
        graph: {
            (value.const_value.offset, value.const_value.length)
            for value in ir.load(half.bundle / "graphs" / f"{graph}.onnx").graph.initializers.values()
            if isinstance(value.const_value, ir.ExternalTensor)
        }
        for graph in ("unet", "vae_decoder", "vae_encoder", "mask_head", *GRAPHS, STEP_UNGUIDED, ENCODE_IMAGE)
    }
    assert places["unet"]
    assert places["step"] == places["step_unguided"] == places["unet"]
    assert places["mask_head"]
    assert places["decode_image"] == places["vae_decoder"]
    assert places["encode_image"] == places["vae_encoder"]
    assert places["decode_mask"] <= places["vae_decoder"] | places["mask_head"]


def test_what_overflows_is_found_and_stays_in_float32(inflated: ExportResult) -> None:
    manifest = Bundle.read(inflated.bundle).manifest
    kept = manifest.half["float32"]
    assert kept["vae_decoder"]
    assert kept["unet"]
    assert kept["mask_head"] == []
    for part in ("unet", "vae_decoder"):
        dtypes = floats(inflated.bundle, part)
        wide = [name for name, dtype in dtypes.items() if dtype == "FLOAT"]
        assert wide
        assert set(wide) <= set(kept[part])
        assert len(wide) < len(dtypes) / 4
    for graph in ("step", "decode_mask", "decode_image"):
        assert manifest.half["measured"][graph]["overflowing"] > 0
    assert inflated.parity is not None
    assert inflated.parity.passed
    words = in_words(describe_bundle(inflated.bundle))
    assert f"stay in float32, as measured: {len(kept['text_encoder'])} in text_encoder, " in words
    assert f"{len(kept['unet'])} in unet, {len(kept['vae_decoder'])} in vae_decoder." in words


def test_it_makes_the_pairs_of_float32(
    inflated: ExportResult, exported: ExportResult, tmp_path: Path
) -> None:
    checkpoint = inflated.bundle.parent / "checkpoint"
    with already_traced(exported.bundle, INFLATED):
        full = export_bundle(checkpoint, tmp_path / "full", steps=STEPS, parity=False).bundle
    made = [
        next(iter(Generator.open(bundle, threads=1).generate("chip", 1, 0, gate=False)))
        for bundle in (full, inflated.bundle)
    ]
    assert np.abs(made[0].image.astype(int) - made[1].image).max() <= 4
    assert np.abs(made[0].probability - made[1].probability).max() < 0.05
    assert np.ptp(made[0].image) > 20


def test_the_float32_graphs_are_gone(inflated: ExportResult) -> None:
    assert sorted(path.name for path in inflated.bundle.iterdir()) == ["graphs", MANIFEST_NAME, "tables"]
    assert sorted(path.name for path in inflated.bundle.parent.iterdir()) == ["base", "bundle", "checkpoint"]


def test_float32_bundles_say_nothing_of_half(exported: ExportResult) -> None:
    assert "half" not in json.loads((exported.bundle / MANIFEST_NAME).read_text())
    assert Bundle.read(exported.bundle).manifest.half == {}
    assert "float32, as measured" not in in_words(describe_bundle(exported.bundle))


def test_a_tensor_between_graphs_that_half_cannot_hold_is_refused(
    exported: ExportResult, tmp_path: Path
) -> None:
    """The features that the mask head reads are half: no choice of nodes mends those."""
    burst = {"unet.up_blocks.2.resnets.1.conv2": 1e9}
    checkpoint = write_inflated(tmp_path, burst)
    with (
        already_traced(exported.bundle, burst),
        pytest.raises(CheckFailed, match=r"with every node in float32 .* Use --precision fp32"),
    ):
        export_bundle(checkpoint, tmp_path / "bundle", precision="fp16", steps=STEPS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "checkpoint"]


def test_features_of_the_vae_that_half_cannot_hold_are_passed_on_as_they_are(
    exported: ExportResult, tmp_path: Path
) -> None:
    burst = {"vae.decoder.up_blocks.1.upsamplers.0.conv": GAIN}
    burst |= {f"mask_head.MRM{place}.conv1.0": 1 / GAIN for place in (2, 3)}  # that, and what it is added to
    checkpoint = write_inflated(tmp_path, burst)
    with already_traced(exported.bundle, burst):
        made = export_bundle(checkpoint, tmp_path / "bundle", precision="fp16", steps=STEPS)
    manifest = Bundle.read(made.bundle).manifest
    dtypes = {tensor.name: tensor.dtype for tensor in manifest.graphs["vae_decoder"].outputs}
    assert dtypes["vae_tap_2x"] == "float16"
    assert dtypes["vae_tap_4x"] == "float32"
    assert made.parity is not None
    assert made.parity.passed


def test_room_for_the_float32_graphs_is_asked_for(
    checkpoint_folder: Path, exported: ExportResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (exported.bundle / "graphs" / "weights.bin").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, MARGIN + int(1.5 * weights)))
    with pytest.raises(UserError, match="this bundle takes"):
        export_bundle(checkpoint_folder, tmp_path / "bundle", precision="fp16", steps=STEPS)
    assert list(tmp_path.iterdir()) == []


def test_what_differs_from_float32_is_said(half: ExportResult, exported: ExportResult) -> None:
    words = compare_bundles(exported.bundle, half.bundle).to_text()
    assert "The precision changed from 'fp32' to 'fp16'" in words
    assert "float32" in words


def test_a_composed_node_names_its_part_and_node(exported: ExportResult) -> None:
    names = {
        part: {str(node.name) for node in ir.load(exported.bundle / "graphs" / f"{part}.onnx").graph}
        for part in ("unet", "vae_decoder", "vae_encoder", "mask_head")
    }
    found = [
        origin(str(node.name))
        for graph in (*GRAPHS, ENCODE_IMAGE)
        for node in ir.load(exported.bundle / "graphs" / f"{graph}.onnx").graph
    ]
    copied = [pair for pair in found if pair is not None]
    assert len(copied) > 0.5 * len(found)
    assert all(node in names[part] for part, node in copied)


@pytest.fixture(scope="module")
def inflated_cuda(inflated: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A copy of the bundle with its graphs in the operators of ONNX Runtime's CUDA provider."""
    copy = Path(shutil.copytree(inflated.bundle, tmp_path_factory.mktemp("cuda") / "bundle"))
    compile_bundle(copy, EngineOptions("cuda"))
    return Bundle.read(copy)


@pytest.mark.parametrize("graph", GRAPHS)
def test_engines_keep_what_export_chose(inflated_cuda: Bundle, graph: str, tmp_path: Path) -> None:
    """The provider's operators around float32 nodes: the same values, as standard operators compute them."""
    found = graph_file(inflated_cuda, graph)
    assert found.is_engine
    model = ir.load(found.file)
    assert any(node.op_type == "NhwcConv" for node in model.graph)
    in_standard_operators(model)
    for made, expected in beside_the_bundles(model, inflated_cuda, graph, tmp_path):
        assert np.isfinite(expected).all()
        assert np.ptp(expected) > 0
        limit = 4.0 if expected.dtype == np.uint8 else 1e-2 * float(np.ptp(expected))
        assert np.abs(made.astype(np.float64) - expected).max() <= limit


@needs_rtx
def test_typed_engines_are_built_with_float32_inside(inflated: ExportResult, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(inflated.bundle, tmp_path / "bundle"))
    result = compile_bundle(copy, EngineOptions("rtx", "8.9"))
    assert {engine.graph for engine in result.engines} == {*GRAPHS, "encode_image"}
    assert {engine.precision for engine in result.engines} == {"fp16"}
