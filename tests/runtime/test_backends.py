from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.backends.contract import Backend, DeviceMemoryError, open_backend
from seas_runtime.backends.cores import container_quota, physical_cores, processor_flags, usable_cores
from seas_runtime.backends.cuda.device import find_cuda_device
from seas_runtime.backends.cuda.driver import open_driver
from seas_runtime.backends.host import run_failure
from seas_runtime.backends.onnxruntime.cuda import BoundSession, OnnxRuntimeBound
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from tests.runtime.bundles import Toy, write_tiny_bundle


def test_a_missing_onnxruntime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install .*\[runtime\]"):
        open_backend("cpu")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpu", "expected one of cpu, openvino, cuda, tensorrt, rtx, auto"),
        ("cpu:fp16", "expected one of cpu"),
        ("openvino:fp64", "expected one of openvino, openvino:bf16, openvino:fp32"),
    ],
)
def test_an_unknown_backend_lists_those_there_are(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        open_backend(name)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("openvino", "openvino", "openvino"),
        ("cuda", "onnxruntime", "cuda"),
    ],
)
def test_a_missing_library_says_what_to_install(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"pip install .*\[{extra}\]"):
        open_backend(name)


@pytest.mark.skipif(find_cuda_device() is not None, reason="needs a machine without a GPU")
def test_a_missing_gpu_is_said() -> None:
    pytest.importorskip("cuda")
    with pytest.raises(UserError, match="expected an NVIDIA GPU with its driver, found none"):
        open_driver()


def test_onnxruntime_without_cuda_says_what_to_install() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UserError, match=r"found .*CPUExecutionProvider.*pip install .*\[cuda\]"):
        open_backend("cuda")


@pytest.fixture(params=["cpu", "bound", "openvino:fp32"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend that runs graphs without a GPU; `bound` is the CUDA backend on the CPU's memory."""
    if request.param == "bound":
        return OnnxRuntimeBound(["CPUExecutionProvider"], "cpu")
    if request.param != "cpu":
        pytest.importorskip(request.param.partition(":")[0])
    return open_backend(request.param, threads=1)


def test_signature_and_run(backend: Backend, tiny_bundle: Path) -> None:
    session = backend.load(Bundle.read(tiny_bundle), "decode_image")
    (latents,) = session.inputs
    assert (latents.name, latents.dtype, latents.shape[1:]) == ("latents", "float32", (4, 6, 6))
    assert isinstance(latents.shape[0], str)
    assert [spec.dtype for spec in session.outputs] == ["uint8"]
    given, image = backend.allocate((2, 4, 6, 6), "float32"), backend.allocate((2, 48, 48, 3), "uint8")
    backend.write(given, np.zeros((2, 4, 6, 6), np.float32))
    backend.sequence([session.bind({"latents": given}, {"image": image})])(lambda: None)
    (array,) = backend.read([image])
    assert array.shape == (2, 48, 48, 3)
    assert (array == 128).all()  # 127.5 rounds half to even


def test_a_graph_that_fails_is_named(backend: Backend, tiny_bundle: Path) -> None:
    session = backend.load(Bundle.read(tiny_bundle), "decode_image")
    given, image = backend.allocate((1, 3, 6, 6), "float32"), backend.allocate((1, 48, 48, 3), "uint8")
    backend.write(given, np.zeros((1, 3, 6, 6), np.float32))
    call = backend.sequence([session.bind({"latents": given}, {"image": image})])
    with pytest.raises(CheckFailed, match=r"decode_image\.onnx: the graph failed to run"):
        call(lambda: None)


@pytest.mark.parametrize("verify", [True, False])
def test_a_graph_swapped_after_it_was_read_is_not_loaded(
    backend: Backend, own_bundle: Path, verify: bool
) -> None:
    content = Bundle.read(own_bundle, verify)
    file = own_bundle / "graphs/step.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\x11")  # as long, and a graph: of another opset
    with pytest.raises(UserError, match=r"step\.onnx: expected sha256"):
        backend.load(content, "step")


def test_weights_swapped_after_they_were_hashed_are_not_loaded(backend: Backend, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle", Toy(weights_file=True))
    content = Bundle.read(bundle)
    weights = bundle / "graphs/weights.bin"
    (tmp_path / "other").write_bytes(bytes(weights.stat().st_size))
    (tmp_path / "other").replace(weights)
    with pytest.raises(UserError, match=r"weights\.bin: expected sha256"):
        backend.load(content, "step")
    swapped = Bundle.read(bundle, verify=False)
    file, real = swapped.graph("step"), weights.with_name("aside")
    weights.rename(real)  # and back: no library may have read what lay there meanwhile
    real.rename(weights)
    with pytest.raises(UserError, match=r"weights\.bin: replaced or written while it was loaded"):
        file.confirm()
    untold = Bundle.read(bundle, verify=False)
    assert backend.load(untold, "step")  # nobody asked for its hash


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim_eta"])
def test_the_pairs_are_those_of_the_cpu(
    backend: Backend, generator: Generator, own_bundle: Path, sampler: str
) -> None:
    options: dict[str, Any] = {"sampler": sampler, "steps": {"dpmpp_2m": 5, "ddim_eta": 4}[sampler]}
    ours = Generator(Bundle.read(own_bundle), backend)
    for defect in ("stain", "good"):
        expected = list(generator.generate(defect, 7, 5, batch=3, **options))
        made = list(ours.generate(defect, 7, 5, batch=3, **options))
        for one, other in zip(made, expected, strict=True):
            assert np.abs(one.image.astype(int) - other.image).max() <= 1
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-5)
            assert one.record.accepted == other.record.accepted


def test_results_stay_as_they_were_returned(backend: Backend, own_bundle: Path) -> None:
    """The next batch may write to the same memory."""
    ours = Generator(Bundle.read(own_bundle), backend)
    stream = ours.generate("stain", 4, batch=1, gate=False)
    first = next(stream)
    before = first.image.copy(), first.probability.copy()
    for later in stream:
        assert not np.array_equal(later.image, before[0])
    assert np.array_equal(first.image, before[0])
    assert np.array_equal(first.probability, before[1])


def test_a_gpu_runs_large_batches_in_turn_and_joins_only_small_ones(
    own_bundle: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight images of 512x512 at once; these are of 48x48, so here it is made two."""
    backend = OnnxRuntimeBound(["CPUExecutionProvider"], "cpu")
    assert [backend.most_at_once(size * size) for size in (512, 768, 2048)] == [8, 3, 1]
    monkeypatch.setattr("seas_runtime.backends.onnxruntime.cuda._MOST_PIXELS", 2 * 48 * 48)
    batches = []
    bind = BoundSession.bind

    def watched(self: BoundSession, feeds: Any, outputs: Any) -> Any:
        batches.append((set(outputs), feeds["latents"].shape[0]))
        return bind(self, feeds, outputs)

    monkeypatch.setattr(BoundSession, "bind", watched)
    ours = Generator(Bundle.read(own_bundle), backend)
    made = list(ours.generate("stain", 5, 5, batch=5, gate=False))
    assert {size for _, size in batches} == {1, 2}
    masks = [size for outputs, size in batches if outputs == {"probability"}]
    assert (
        len(masks) == 2 * ours.manifest.generation["mask_steps"]
    )  # of two pairs, and of the last: none joined
    expected = list(generator.generate("stain", 5, 5, batch=5, gate=False))
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1


def test_a_gpu_short_of_memory_lets_go_of_what_its_sessions_hold_before_it_loads_them_again(
    own_bundle: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = OnnxRuntimeBound(["CPUExecutionProvider"], "cpu")
    held: list[weakref.ref[BoundSession]] = []
    alive = []
    load, bind = OnnxRuntimeBound.load, BoundSession.bind

    def watched(self: OnnxRuntimeBound, bundle: Bundle, graph: str) -> BoundSession:
        alive.append(sum(session() is not None for session in held))
        session = load(self, bundle, graph)
        held.append(weakref.ref(session))
        return session

    def short(self: BoundSession, feeds: Any, outputs: Any) -> Any:
        if feeds["latents"].shape[0] > 2:
            return failing
        return bind(self, feeds, outputs)

    def failing(wait: bool = True) -> None:
        raise DeviceMemoryError("GPU: out of memory")

    monkeypatch.setattr(OnnxRuntimeBound, "load", watched)
    monkeypatch.setattr(BoundSession, "bind", short)
    ours = Generator(Bundle.read(own_bundle), backend)
    made = list(ours.generate("stain", 4, 5, batch=4, gate=False))
    assert alive == [0, 1, 2] * 3  # at the start, without joined masks, and with two pairs at once
    for one, other in zip(made, generator.generate("stain", 4, 5, batch=4, gate=False), strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1


def test_memory_that_runs_out_is_told_from_other_failures() -> None:
    assert "use a smaller --batch" in str(run_failure("step.onnx", "std::bad_alloc"))
    assert "--batch" not in str(run_failure("step.onnx", "Got invalid dimensions for input: latents"))
    assert isinstance(
        run_failure("step.onnx", "Failed to allocate memory for requested buffer", DeviceMemoryError),
        DeviceMemoryError,
    )


def test_processor_flags(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\n")
    assert processor_flags(tmp_path / "cpuinfo") == {"fpu", "avx512_bf16"}
    assert processor_flags(tmp_path / "nothing") == frozenset()


def test_usable_cores_respects_affinity() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            assert usable_cores() == 1
        finally:
            os.sched_setaffinity(0, before)


def test_physical_cores_counts_hyperthreads_once(tmp_path: Path) -> None:
    processors = [
        f"processor\t: {cpu}\nphysical id\t: {cpu % 2}\ncore id\t\t: {cpu // 2 % 2}\n" for cpu in range(8)
    ]
    (tmp_path / "cpuinfo").write_text("\n".join(processors))
    assert physical_cores(tmp_path / "cpuinfo") == 4
    assert physical_cores(tmp_path / "nothing") == (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_container_quota(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert container_quota(tmp_path) == cores
