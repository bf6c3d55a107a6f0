"""`engine`: real TensorRT-RTX engines of a real export, built without a GPU, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.store import EngineStore
from tests.export.commands import Ended, Run
from tests.export.conftest import needs_rtx

if TYPE_CHECKING:
    from seas_export.export import ExportResult


@pytest.fixture(scope="module")
def bundle(exported: ExportResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny export with engines of its own."""
    return Path(shutil.copytree(exported.bundle, tmp_path_factory.mktemp("engines") / "bundle"))


@pytest.fixture(scope="module")
def built(bundle: Path) -> Ended:
    """What building says: half precision from a float32 bundle, two devices, a dynamic batch."""
    from seas_engines.building.compile import compile_bundle
    from seas_engines.targets.options import EngineOptions
    from seas_runtime.engines.record import BatchRange

    phases: list[str] = []
    result = compile_bundle(
        bundle,
        EngineOptions("rtx", "8.6,12.0", batch=BatchRange(1, 2, 4), ship=True),
        progress=lambda graph, phase, done, total: phases.append(f"{graph} {phase}"),
    )
    return Ended(0, json.dumps(result.to_dict()), "\n".join(phases))


@needs_rtx
def test_engines_are_real_and_typed_as_the_bundle_says(bundle: Path, built: Ended) -> None:
    manifest = Bundle.read(bundle).manifest
    engines, damaged = EngineStore(bundle, manifest).engines()
    assert not damaged
    graphs = {"step", "decode_mask", "decode_image", "encode_image"}
    assert {engine.identity.graph for engine in engines} == graphs
    for engine in engines:
        spec = manifest.graphs[engine.identity.graph]
        record = engine.record
        assert {(tensor.name, tensor.dtype) for tensor in record.inputs} == {
            (tensor.name, tensor.dtype) for tensor in spec.inputs
        }
        assert {(tensor.name, tensor.dtype) for tensor in record.outputs} == {
            (tensor.name, tensor.dtype) for tensor in spec.outputs
        }
        shapes = {tensor.name: tensor.shape for tensor in (*record.inputs, *record.outputs)}
        assert shapes["latents"] == ("batch", 4, 8, 8)
        assert record.facts["strongly_typed"] is True
        assert record.facts["half"]["error"] <= 1e-2
        assert record.facts["peak"] > 2**26
        with engine.open() as content:
            assert len(content) > 10_000


@needs_rtx
def test_progress_is_told(built: Ended) -> None:
    assert "step Building engine" in built.err


@needs_rtx
def test_the_command_keeps_them(run: Run, bundle: Path, built: Ended) -> None:
    words = ("engine", bundle, "--target", "rtx", "--device", "86,120", "--batch", "1:2:4", "--no-build")
    ended = run(*words, "--json")
    assert ended.code == 0
    assert not any(engine["built"] for engine in ended.json["engines"])
    assert "current" in run(*words).out
    refused = run("engine", bundle, "--target", "rtx", "--device", "8.9", "--no-build")
    assert refused.code == 2
    assert "--no-build was given" in refused.err


@needs_rtx
def test_inspect_and_verify_know_them(run: Run, bundle: Path, built: Ended) -> None:
    said = run("inspect", bundle).out
    assert "step: rtx " in said
    assert "on 8.6, 12.0, fp16, batch 1:2:4" in said
    assert said.count("current, shipped") == 4
    whole = run("verify", bundle, "--json")
    assert (whole.code, len(whole.json["engines"]["found"])) == (0, 4)


@needs_rtx
def test_verify_names_a_changed_engine(run: Run, bundle: Path, built: Ended, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    file = next((copy / "engines").glob("*/engine.bin"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(bytes(data))
    ended = run("verify", copy)
    assert ended.code == 1
    assert str(file) in ended.err
    assert "--force" in ended.err


def test_targets_without_engines(run: Run, toy_bundle: Path) -> None:
    ended = run("engine", toy_bundle, "--target", "cpu")
    assert ended.code == 0
    assert "nothing needs building for cpu" in ended.out
    assert run("inspect", toy_bundle).out.count("Engines: none.") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--target", "toaster"), "target: expected one of cpu"),
        (("--target", "rtx", "--device", "8.7"), "Jetson Orin"),
        (("--target", "rtx", "--device", "8.6", "--batch", "4:1"), "expected a whole number or MIN:OPT:MAX"),
        (("--target", "tensorrt"), "there is no NVIDIA GPU here"),
        (("--target", "cpu", "--device", "8.6"), "has no engines to build"),
    ],
)
def test_mistakes(
    run: Run, toy_bundle: Path, words: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seas_engines.building import compile as compiling
    from seas_engines.targets import options as asked

    monkeypatch.setattr(asked, "tensorrt_version", lambda target: "11.4" if target == "tensorrt" else "1.7")
    monkeypatch.setattr(compiling, "find_cuda_device", lambda **_: None)
    ended = run("engine", toy_bundle, *words)
    assert ended.code == 2
    assert expected in ended.err
