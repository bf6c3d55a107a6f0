"""What `compile_bundle` refuses, keeps and builds again; the builder itself is another's test."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from seas_engines.building import compile as compiling
from seas_engines.building.compile import compile_bundle
from seas_engines.building.subprocess import Built
from seas_engines.building.worker import WorkerSpec
from seas_engines.targets import memory_plan
from seas_engines.targets import options as asked
from seas_engines.targets.options import EngineOptions
from seas_engines.targets.targets import Precision, Target
from seas_runtime.backends.cuda.device import CudaDevice
from seas_runtime.backends.onnxruntime.graph_files import ANY_GPU, graph_file
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.errors import EngineDamaged, EngineStoreUnwritable
from seas_runtime.engines.record import BatchRange
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.outputs import temporary
from tests.runtime.bundles import write_tiny_bundle

GIB = 1 << 30
ORIN = CudaDevice("Orin", "8.7", True, 8 * GIB, 6 * GIB)
CARD = CudaDevice("NVIDIA GeForce RTX 3060", "8.6", False, 12 * GIB, 11 * GIB)
RTX = EngineOptions("rtx", "8.6,12.0", batch=BatchRange(1, 2, 4))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> list[WorkerSpec]:
    """The specifications that the builder was given; what it builds is a text."""
    given: list[WorkerSpec] = []

    def build(spec: WorkerSpec, folder: Path, progress: Any = None) -> Built:
        given.append(spec)
        assert Path(spec.graph).is_file()
        Path(spec.out).write_bytes(b"engine of " + Path(spec.graph).parent.name.encode())
        return Built(1.0, GIB, (), ())

    monkeypatch.setattr(compiling, "run_worker", build)
    monkeypatch.setattr(asked, "tensorrt_version", lambda target: "10.16" if target == "tensorrt" else "1.7")
    monkeypatch.setattr(compiling, "find_cuda_device", lambda **_: None)
    return given


def here(monkeypatch: pytest.MonkeyPatch, device: CudaDevice) -> None:
    monkeypatch.setattr(compiling, "find_cuda_device", lambda **_: device)


def test_engines_are_built_once(bundle: Path, specs: list[WorkerSpec]) -> None:
    first = compile_bundle(bundle, RTX)
    assert [made.graph for made in first.engines] == ["step", "decode_mask", "decode_image"]
    assert all(made.built and made.devices == ("8.6", "12.0") for made in first.engines)
    assert {made.precision for made in first.engines} == {"fp16"}
    assert [spec.batch for spec in specs] == [(1, 2, 4), (1, 6, 12), (1, 2, 4)]  # three masks at once
    again = compile_bundle(bundle, RTX)
    assert not any(made.built for made in again.engines)
    assert [made.key for made in again.engines] == [made.key for made in first.engines]
    assert len(specs) == 3


def test_other_options_are_other_engines(bundle: Path, specs: list[WorkerSpec]) -> None:
    compile_bundle(bundle, RTX)
    compile_bundle(bundle, EngineOptions("rtx", "8.9", batch=BatchRange(1, 2, 4)))
    compile_bundle(bundle, EngineOptions("rtx", "8.9", batch=BatchRange(4, 4, 4)))
    compile_bundle(bundle, EngineOptions("rtx", "8.9", precision="fp32"))
    assert len(specs) == 12


def test_the_choice_of_float32_nodes_is_measured_once(
    bundle: Path, specs: list[WorkerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    from seas_engines.building.prepare import Preparer

    compile_bundle(bundle, RTX)

    def measure(self: Preparer, graph: str, bound: float) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(Preparer, "measure", measure)
    compile_bundle(bundle, EngineOptions("rtx", "8.9"))


def test_damaged_engines_are_built_again(bundle: Path, specs: list[WorkerSpec]) -> None:
    made = compile_bundle(bundle, RTX).engines
    broken = bundle / "engines" / made[1].key / "engine.bin"
    broken.write_bytes(broken.read_bytes()[:-1] + b"\0")
    said: list[str] = []
    again = compile_bundle(bundle, RTX, said.append)
    assert [entry.built for entry in again.engines] == [False, True, False]
    assert "expected" in said[0]
    assert "found" in said[0]


def test_a_new_version_replaces_the_old_engines(
    bundle: Path, specs: list[WorkerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_bundle(bundle, RTX)
    monkeypatch.setattr(asked, "tensorrt_version", lambda target: "1.8")
    assert all(made.built for made in compile_bundle(bundle, RTX).engines)
    assert len(list((bundle / "engines").iterdir())) == 3


def test_engines_are_shipped_where_asked(bundle: Path, specs: list[WorkerSpec]) -> None:
    compile_bundle(bundle, RTX)
    ship = EngineOptions("rtx", "8.6,12.0", batch=BatchRange(1, 2, 4), ship=True)
    assert all(made.built for made in compile_bundle(bundle, ship).engines)
    assert not any(made.built for made in compile_bundle(bundle, ship).engines)


def test_no_build_refuses(bundle: Path, specs: list[WorkerSpec]) -> None:
    with pytest.raises(UserError, match="no current rtx engine of step, decode_mask, decode_image for"):
        compile_bundle(bundle, EngineOptions("rtx", "8.6,12.0", build=False))
    assert not specs
    assert not (bundle / "engines").exists()


def test_a_failed_build_leaves_nothing(
    bundle: Path, specs: list[WorkerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(spec: WorkerSpec, folder: Path, progress: Any = None) -> Built:
        Path(spec.out).write_bytes(b"half an engine")
        raise CheckFailed("out of memory")

    monkeypatch.setattr(compiling, "run_worker", die)
    with pytest.raises(CheckFailed, match="out of memory"):
        compile_bundle(bundle, RTX)
    assert list((bundle / "engines").iterdir()) == []


def test_unwritable_cache(bundle: Path, specs: list[WorkerSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "temporary_sibling", lambda path: Path("/proc/nobody/writes/here"))
    with pytest.raises(EngineStoreUnwritable, match="cannot be written"):
        compile_bundle(bundle, RTX)
    assert not specs


@pytest.mark.parametrize("target", ["cpu", "openvino"])
def test_targets_that_need_no_engine_say_so(bundle: Path, target: str) -> None:
    result = compile_bundle(bundle, EngineOptions(target))
    assert not result.engines
    assert "graphs" in result.note
    with pytest.raises(UserError, match="--device: target"):
        compile_bundle(bundle, EngineOptions(target, "8.6"))
    with pytest.raises(UserError, match="--ship-engines: target"):
        compile_bundle(bundle, EngineOptions(target, ship=True))


def test_graphs_for_cuda_are_written_once_and_for_any_gpu(bundle: Path) -> None:
    options = EngineOptions("cuda", precision="fp32")
    first = compile_bundle(bundle, options)
    assert [engine.graph for engine in first.engines] == ["step", "decode_mask", "decode_image"]
    assert all(engine.built and engine.devices == (ANY_GPU,) for engine in first.engines)
    assert not any(engine.built for engine in compile_bundle(bundle, options).engines)
    with pytest.raises(UserError, match="--no-build"):
        compile_bundle(bundle, EngineOptions("cuda", precision="fp32", ship=True, build=False))
    shipped = compile_bundle(bundle, EngineOptions("cuda", precision="fp32", ship=True))
    assert all(engine.built for engine in shipped.engines)


@pytest.mark.parametrize(
    "options",
    [
        EngineOptions("cuda", "8.6"),
        EngineOptions("cuda", level=3),
        EngineOptions("cuda", workspace=GIB),
        EngineOptions("cuda", memory=GIB),
    ],
)
def test_graphs_for_cuda_take_no_options_of_a_builder(bundle: Path, options: EngineOptions) -> None:
    with pytest.raises(UserError, match="nothing is compiled for them; leave it out"):
        compile_bundle(bundle, options)
    assert not (bundle / "engines").exists()


@pytest.mark.parametrize("damage", ["changed", "missing", "linked"])
def test_damaged_weights_of_a_graph_are_found_and_written_again(
    bundle: Path, damage: str, tmp_path: Path
) -> None:
    options = EngineOptions("cuda", precision="fp32")
    compile_bundle(bundle, options)
    content = Bundle.read(bundle)
    found = graph_file(content, "decode_mask")
    weights = found.file.with_name("weights.bin")
    data = weights.read_bytes()
    weights.unlink()
    if damage == "changed":
        weights.write_bytes(data + b"more")
    elif damage == "linked":
        (tmp_path / "elsewhere").write_bytes(data)
        weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineDamaged, match=r"weights\.bin: expected sha256 .* Build it again: seas-export"):
        found.load()
    again = compile_bundle(bundle, options)
    assert [engine.graph for engine in again.engines if engine.built] == ["decode_mask"]
    assert graph_file(content, "decode_mask").is_engine


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (EngineOptions("toaster"), "target: expected one of cpu"),
        (EngineOptions("rtx"), "no NVIDIA GPU here to build for; give compute capabilities"),
        (EngineOptions("rtx", "9.0"), "TensorRT-RTX does not build for it"),
        (EngineOptions("rtx", "8.6", precision="int4"), "precision: expected one of fp32, fp16, int8"),
        (EngineOptions("rtx", "8.6", graphs=("unet",)), "--graph: expected one of step"),
        (EngineOptions("tensorrt"), "built on the device that runs them, and there is no NVIDIA GPU"),
        (EngineOptions("tensorrt", ship=True), "run only on the device that built them"),
        (EngineOptions("rtx", "8.6", memory=1 << 20), "0.0 GiB are allowed by --memory"),
    ],
)
def test_refusals(bundle: Path, specs: list[WorkerSpec], options: EngineOptions, words: str) -> None:
    with pytest.raises(UserError, match=words):
        compile_bundle(bundle, options)
    assert not specs


def test_fp32_engines_of_an_fp16_bundle_are_refused(tmp_path: Path, specs: list[WorkerSpec]) -> None:
    bundle = write_tiny_bundle(tmp_path / "half", precision="fp16")
    with pytest.raises(UserError, match="export it with --precision fp32"):
        compile_bundle(bundle, EngineOptions("rtx", "8.6", precision="fp32"))


def test_tensorrt_builds_for_the_device_here(
    bundle: Path, specs: list[WorkerSpec], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here(monkeypatch, ORIN)
    made = compile_bundle(bundle, EngineOptions("tensorrt")).engines
    assert {entry.devices for entry in made} == {("8.7 Orin",)}
    assert specs[0].devices == ()
    assert str(specs[0].timing_cache).endswith("tensorrt-10.16-8.7_Orin.cache")
    with pytest.raises(UserError, match=r"builds only for the device that it runs on, 8\.7 Orin"):
        compile_bundle(bundle, EngineOptions("tensorrt", "8.6"))


def test_rtx_builds_for_the_gpu_here(
    bundle: Path, specs: list[WorkerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    here(monkeypatch, CARD)
    assert compile_bundle(bundle, EngineOptions("rtx")).engines[0].devices == ("8.6",)
    here(monkeypatch, ORIN)
    with pytest.raises(UserError, match=r"Jetson Orin.*use --target tensorrt"):
        compile_bundle(bundle, EngineOptions("rtx"))


def test_a_plan_for_a_small_jetson(bundle: Path) -> None:
    read = Bundle.read(bundle)
    big = read.manifest.__class__(**{**vars(read.manifest), "image": read.manifest.image.__class__(512, 512)})
    full = replace(read, manifest=big)
    weights = {"step": 2 * GIB, "decode_mask": GIB // 4, "decode_image": GIB // 4}

    def plan(batch: int, free: float, target: Target = Target.TENSORRT) -> memory_plan.MemoryPlan:
        device = CudaDevice("Orin Nano", "8.7", True, 8 * GIB, int(free * GIB))
        return memory_plan.plan_device(full, target, weights, Precision.FP16, batch, device)

    assert plan(1, 6.0) == memory_plan.MemoryPlan()
    streamed = plan(1, 2.5)
    assert streamed.weight_streaming
    assert "weights will be streamed" in streamed.notes[0]
    with pytest.raises(UserError, match=r"engines for batches of 8 need about .* give --batch \d"):
        plan(8, 3.0)
    with pytest.raises(UserError, match="use a smaller base"):
        plan(1, 0.5)
    with pytest.raises(UserError, match="need about"):
        plan(1, 2.5, Target.RTX)
    assert (
        memory_plan.plan_device(full, Target.RTX, weights, Precision.FP16, 8, None)
        == memory_plan.MemoryPlan()
    )


def test_a_build_that_would_not_fit_is_refused_before_it_starts() -> None:
    memory_plan.check_build_memory("step", GIB, 8 * GIB, None)
    memory_plan.check_build_memory("step", GIB, None, None)
    with pytest.raises(UserError, match=r"step: .* needs about 4\.5 GiB of memory, 4\.0 GiB are available"):
        memory_plan.check_build_memory("step", GIB, 4 * GIB, None)


def test_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"MemTotal": 8, "MemFree": 1, "MemAvailable": 4, "SwapTotal": 3, "SwapFree": 2}
    sizes |= dict.fromkeys(("Buffers", "Cached", "Shmem", "Active", "Inactive"), 0)
    (tmp_path / "meminfo").write_text("".join(f"{name}:   {size} kB\n" for name, size in sizes.items()))
    (tmp_path / "vmstat").write_text("pswpin 0\npswpout 0\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert memory_plan.available_memory() == 6 * 1024


def test_a_bundle_of_another_graph_is_built_anew(tmp_path: Path, specs: list[WorkerSpec]) -> None:
    from tests.runtime.bundles import Toy

    first = write_tiny_bundle(tmp_path / "first")
    compile_bundle(first, RTX)
    other = write_tiny_bundle(tmp_path / "other", Toy(gain=2.0))
    shutil.copytree(first / "engines", other / "engines")
    built = {made.graph: made.built for made in compile_bundle(other, RTX).engines}
    assert built == {"step": False, "decode_mask": True, "decode_image": False}
