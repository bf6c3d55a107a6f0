"""The CUDA backend with engines, as far as a processor can show it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_engines.building.compile import compile_bundle
from seas_engines.targets.options import EngineOptions
from seas_runtime.backends.onnxruntime.cuda import PROVIDER, OnnxRuntimeBound
from seas_runtime.backends.onnxruntime.graph_files import CUDA_FORM, graph_file
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.errors import EngineDamaged, EngineStale
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import PairRequest, PlacedInputs
from seas_runtime.methods.seas import GRAPHS
from tests.runtime.bundles import Toy, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def backend() -> OnnxRuntimeBound:
    return OnnxRuntimeBound(["CPUExecutionProvider"], "cpu")


def test_pairs_of_engines_are_those_of_the_bundles_graphs(
    bundle: Path, backend: OnnxRuntimeBound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the operators that a GPU alone has: `tests/export/test_cuda_graphs.py` is about those."""
    monkeypatch.setattr("seas_engines.building.prepare.write_for_cuda", lambda model: None)
    content = Bundle.read(bundle)
    expected = list(Generator.open(bundle).generate("stain", 5, batch=2))
    assert "engines" not in backend.identity(content)
    compile_bundle(bundle, EngineOptions("cuda", precision="fp32"))
    assert backend.identity(content)["engines"] == CUDA_FORM
    assert backend.identity(content)["precision"] == "fp32"
    for one, other in zip(Generator(content, backend).generate("stain", 5, batch=2), expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        np.testing.assert_allclose(one.probability, other.probability, atol=1e-5)


def test_placed_pairs_of_engines_are_those_of_the_bundles_graphs(
    tmp_path: Path, backend: OnnxRuntimeBound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every graph that they run has an engine; maps are read, and features handed back, by one call."""
    monkeypatch.setattr("seas_engines.building.prepare.write_for_cuda", lambda model: None)
    path = write_tiny_bundle(tmp_path / "bundle", Toy(blend="fixed"))
    content = Bundle.read(path)
    built = compile_bundle(path, EngineOptions("cuda", precision="fp32"))
    assert [engine.graph for engine in built.engines] == [*GRAPHS, "encode_image"]
    assert graph_file(content, "encode_image").is_engine
    side = content.manifest.image.height
    mask = np.zeros((side, side), np.bool_)
    mask[10:25, 5:30] = True
    made = []
    for generator in (Generator(content, backend), Generator.open(path, threads=1)):
        request = generator.request("stain", 4, gate=False)
        random = np.random.default_rng(0)
        windows = random.integers(0, 256, (3, side, side, 3), dtype=np.uint8)
        asked = [
            PairRequest(request, index, PlacedInputs(window, mask), ("tap_coarse",))
            for index, window in enumerate(windows)
        ]
        made.append(generator._loop.run(asked, 0))
    assert np.abs(made[0].images.astype(int) - made[1].images).max() <= 1
    for one, other in (
        (made[0].masks.probabilities, made[1].masks.probabilities),
        (made[0].observed["tap_coarse"], made[1].observed["tap_coarse"]),
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.std(made[0].images) > 10


def test_what_is_loaded_is_the_engine(bundle: Path, backend: OnnxRuntimeBound) -> None:
    compile_bundle(bundle, EngineOptions("cuda", precision="fp32", graphs=("step",)))
    content = Bundle.read(bundle)
    assert graph_file(content, "step").file.name == "engine.bin"
    assert graph_file(content, "decode_mask").file.name == "decode_mask.onnx"  # there is no engine of it
    engine = graph_file(content, "step").file
    engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    with pytest.raises(EngineDamaged, match=r"engine\.bin.*Build it again: seas-export engine"):
        backend.load(content, "step")


def test_an_engine_of_another_bundle_is_refused(
    bundle: Path, backend: OnnxRuntimeBound, tmp_path: Path
) -> None:
    compile_bundle(bundle, EngineOptions("cuda", precision="fp32"))
    other = write_tiny_bundle(tmp_path / "other", Toy(gain=1.0))
    shutil.copytree(bundle / "engines", other / "engines")
    with pytest.raises(EngineStale, match=r"another graph or other weights.*seas-export engine"):
        backend.load(Bundle.read(other), "decode_mask")


class Opened(Exception):
    """A session would be opened now."""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, list[Any]]]:
    """The options and providers that sessions were to be opened with; none is."""
    given: list[tuple[Any, list[Any]]] = []

    def open_session(file: Path, options: Any, providers: list[Any]) -> Any:
        given.append((options, providers))
        raise Opened

    monkeypatch.setattr("seas_runtime.backends.onnxruntime.cuda.open_session", open_session)
    return given


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "0"), ("fp16", "1")])
def test_half_precision_keeps_the_tensor_cores(
    bundle: Path, precision: str, tf32: str, opened: list[tuple[Any, list[Any]]]
) -> None:
    """ONNX Runtime takes them from every convolution where TF32 is off."""
    compile_bundle(bundle, EngineOptions("cuda", precision=precision))
    backend = OnnxRuntimeBound([(PROVIDER, {"cudnn_conv_algo_search": "HEURISTIC"})])
    for graph in GRAPHS:
        with pytest.raises(Opened):
            backend.load(Bundle.read(bundle), graph)
    assert {providers[0][1]["use_tf32"] for _, providers in opened} == {tf32}
    assert all(providers[0][1]["enable_cuda_graph"] == "1" for _, providers in opened)


def test_graphs_of_the_bundle_run_deterministically_and_as_they_are(
    bundle: Path, opened: list[tuple[Any, list[Any]]]
) -> None:
    backend = OnnxRuntimeBound([(PROVIDER, {})])
    with pytest.raises(Opened):
        backend.load(Bundle.read(bundle), "step")
    ((options, providers),) = opened
    assert options.use_deterministic_compute
    assert providers == [(PROVIDER, {"use_tf32": "0"})]
