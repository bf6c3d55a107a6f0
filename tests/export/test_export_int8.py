"""int8 bundles: weights of one byte, inputs rounded where whole pairs bear it, one graph for all backends."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from seas_engines.building.compile import compile_bundle
from seas_engines.targets.options import EngineOptions
from seas_export.bundles.describe import describe_bundle, in_words
from seas_export.bundles.differences import compare_bundles
from seas_export.export import ExportResult, export_bundle
from seas_export.export import int8 as int8_export
from seas_export.export.optimum import export_optimum
from seas_export.export.parity.report import BOUNDS, Bounds, PipelineBound
from seas_runtime.bundle.reading import MANIFEST_NAME, Bundle
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.figures import iou, overlap, psnr, squared_error
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import ENCODE_IMAGE, STEP_UNGUIDED, TEXT_ENCODER
from seas_runtime.methods.seas import GRAPHS
from tests.export.conftest import STEPS, already_traced, needs_rtx

pytestmark = pytest.mark.slow
INT8 = (*GRAPHS, STEP_UNGUIDED)


@pytest.fixture(scope="module")
def int8(
    exported: ExportResult, checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    out = tmp_path_factory.mktemp("int8") / "bundle"
    with already_traced(exported.bundle):
        return export_bundle(checkpoint_folder, out, precision="int8", steps=STEPS)


def model(bundle: Path, graph: str) -> ir.Model:
    return ir.load(bundle / "graphs" / f"{graph}.onnx")


def weights(bundle: Path, graphs: tuple[str, ...]) -> int:
    """Bytes of the weights of graphs, each once."""
    found = {}
    for graph in graphs:
        for value in model(bundle, graph).graph.initializers.values():
            tensor = value.const_value
            assert tensor is not None
            external = isinstance(tensor, ir.ExternalTensor)
            key = (tensor.offset, tensor.length) if external else (graph, value.name)
            found[key] = tensor.nbytes
    return sum(found.values())


def test_weights_shrink_and_the_plain_parts_are_left_out(int8: ExportResult, exported: ExportResult) -> None:
    """Tiny layers keep their precision, and steps weigh more there: at real sizes it is 27 %."""
    assert weights(int8.bundle, INT8) < 0.41 * weights(exported.bundle, INT8)
    manifest = Bundle.read(int8.bundle).manifest
    assert manifest.precision == "int8"
    assert set(manifest.graphs) == {*INT8, ENCODE_IMAGE, TEXT_ENCODER}
    tensors = (*manifest.graphs["step"].inputs, *manifest.graphs["step"].outputs)
    assert "int8" not in {tensor.dtype for tensor in tensors}


@pytest.mark.parametrize("graph", INT8)
def test_every_weight_of_a_layer_is_stored_as_int8(int8: ExportResult, graph: str) -> None:
    """Symmetric, with a step for each output channel; inputs of layers go through int8 too."""
    found = model(int8.bundle, graph)
    kinds = Counter(node.op_type for node in found.graph)
    assert kinds["QuantizeLinear"] > 0
    stored = 0
    for node in found.graph:
        if node.op_type != "DequantizeLinear":
            continue
        source, step = node.inputs[0], node.inputs[1]
        assert source is not None
        assert step is not None
        assert step.const_value is not None
        if source.const_value is None:  # an input's
            assert source.producer() is not None
            assert step.const_value.size == 1
            continue
        array, axis = source.const_value.numpy(), node.attributes.get_int("axis", 1)
        others = tuple(place for place in range(array.ndim) if place != axis)
        assert array.dtype == np.int8
        assert step.const_value.size == array.shape[axis]
        assert np.abs(array).max(axis=others).min() == np.abs(array).max() == 127
        stored += 1
    assert stored > 5
    heavy = [node for node in found.graph if node.op_type in ("Conv", "Gemm")]
    floats = [node for node in heavy if node.inputs[1] is not None and node.inputs[1].const_value is not None]
    assert all(node.inputs[1].const_value.size < 1024 for node in floats)  # type: ignore[union-attr]


def test_graphs_share_their_weights(int8: ExportResult) -> None:
    places = [
        {
            (value.const_value.offset, value.const_value.length)
            for value in model(int8.bundle, graph).graph.initializers.values()
            if isinstance(value.const_value, ir.ExternalTensor)
        }
        for graph in ("step", STEP_UNGUIDED)
    ]
    assert places[0] == places[1]
    size = (int8.bundle / "graphs" / "weights.bin").stat().st_size
    assert size < 1.1 * weights(int8.bundle, (*INT8, ENCODE_IMAGE, TEXT_ENCODER))


def test_the_manifest_says_what_was_measured(int8: ExportResult) -> None:
    said = json.loads((int8.bundle / MANIFEST_NAME).read_text())["int8"]
    assert set(said["float32"]) == set(said["layers"]) == set(INT8)
    bound = BOUNDS["int8"].pipeline
    assert bound.psnr <= said["pairs"]["psnr"] < 70  # it is int8
    assert said["pairs"]["iou"] >= bound.iou
    assert int8.parity is not None
    assert int8.parity.passed
    assert max(row.relative for row in int8.parity.graphs) > 1e-3
    words = in_words(describe_bundle(int8.bundle))
    assert "int8, opset 20" in words
    assert f"{said['pairs']['psnr']:g} dB and IoU" in words


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_it_makes_the_pairs_of_float32(int8: ExportResult, exported: ExportResult, backend: str) -> None:
    """Each backend's own int8 kernels, against float32 on ONNX Runtime."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    found = [
        list(Generator.open(bundle, backend=name, threads=1).generate("chip", 2, 5, gate=False))
        for bundle, name in ((exported.bundle, "cpu"), (int8.bundle, backend))
    ]
    images = [np.stack([pair.image for pair in pairs]) for pairs in found]
    masks = [np.stack([pair.mask for pair in pairs]) > 0 for pairs in found]
    assert np.ptp(images[0]) > 20
    assert not np.array_equal(*images)
    assert psnr(squared_error(*images), images[0].size) > 25
    assert iou(*overlap(*masks)) > 0.85


def test_what_differs_from_float32_is_said(int8: ExportResult, exported: ExportResult) -> None:
    words = compare_bundles(exported.bundle, int8.bundle).to_text()
    assert "The precision changed from 'fp32' to 'int8'" in words
    assert "The graph 'unet' is gone." in words


def test_pairs_out_of_bounds_fail_with_the_figure_and_write_nothing(
    exported: ExportResult, checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        int8_export.BOUNDS, "int8", Bounds(BOUNDS["int8"].graph, PipelineBound(90.0, 0.5, 0.9))
    )
    with (
        already_traced(exported.bundle),
        pytest.raises(CheckFailed, match=r"int8: over 12 whole pairs the images lie [0-9.]+ dB .* 90 dB"),
    ):
        export_bundle(checkpoint_folder, tmp_path / "bundle", precision="int8", steps=STEPS, parity=False)
    assert list(tmp_path.iterdir()) == []


def test_inputs_stay_in_float_until_the_pairs_are_within_their_bounds(
    exported: ExportResult, checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing between: first every input is int8, which is out of this bound, then none."""
    monkeypatch.setattr(int8_export, "RATIOS", (-99.0, 999.0))
    monkeypatch.setitem(
        int8_export.BOUNDS, "int8", Bounds(BOUNDS["int8"].graph, PipelineBound(0.0, 9.0, 0.0))
    )
    said: list[str] = []
    with already_traced(exported.bundle):
        first = export_bundle(
            checkpoint_folder, tmp_path / "all", precision="int8", steps=STEPS, parity=False
        ).bundle
        figures = Bundle.read(first).manifest.int8["pairs"]
        bound = PipelineBound(figures["psnr"] + 0.5, 9.0, 0.0)
        monkeypatch.setitem(int8_export.BOUNDS, "int8", Bounds(BOUNDS["int8"].graph, bound))
        second = export_bundle(
            checkpoint_folder,
            tmp_path / "none",
            precision="int8",
            steps=STEPS,
            parity=False,
            progress=said.append,
        ).bundle
    kinds = [Counter(node.op_type for node in model(bundle, "step").graph) for bundle in (first, second)]
    assert kinds[0]["QuantizeLinear"] > 10
    assert kinds[1]["QuantizeLinear"] == 0
    assert kinds[1]["DequantizeLinear"] > 10  # the weights
    kept = Bundle.read(second).manifest.int8
    assert {graph: len(names) for graph, names in kept["float32"].items()} == kept["layers"]
    assert sum("write the graphs" in line for line in said) == 2


def test_engines_of_another_precision_are_refused(int8: ExportResult, exported: ExportResult) -> None:
    with pytest.raises(UserError, match=r"the bundle is int8, .* or build with --precision int8"):
        compile_bundle(int8.bundle, EngineOptions("rtx", "8.9", precision="fp16"))
    with pytest.raises(UserError, match=r"the bundle is fp32, .* with --precision int8"):
        compile_bundle(exported.bundle, EngineOptions("rtx", "8.9", precision="int8"))
    with pytest.raises(UserError, match="target cuda: runs fp16, fp32, not int8"):
        compile_bundle(int8.bundle, EngineOptions("cuda"))


def test_optimums_parts_are_not_written_in_int8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected one of fp32, fp16 with --layout optimum, found int8"):
        export_optimum(tmp_path / "checkpoint", tmp_path / "out", precision="int8")
    assert list(tmp_path.iterdir()) == []


@needs_rtx
@pytest.mark.parametrize("device", ["8.6", "8.9"])
def test_rtx_engines_are_built(int8: ExportResult, tmp_path: Path, device: str) -> None:
    copy = Path(shutil.copytree(int8.bundle, tmp_path / "bundle"))
    result = compile_bundle(copy, EngineOptions("rtx", device))
    assert {engine.graph for engine in result.engines} == {*GRAPHS, ENCODE_IMAGE}
    assert {engine.precision for engine in result.engines} == {"int8"}
