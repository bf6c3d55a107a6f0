"""What `--backend auto` takes on which machine, and what it says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.backends import auto
from seas_runtime.backends.auto import candidates, choose
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.installing import install
from tests.runtime.fake_gpu import DEVICE, VERSION, build_engines

BFLOAT16 = frozenset({"avx512_bf16"})


class Machine:
    """What the machine is made to look like."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.has()

    def has(
        self,
        *packages: str,
        gpu: Any = None,
        flags: frozenset[str] = frozenset(),
        tensorrt: str | None = None,
        providers: tuple[str, ...] = (),
    ) -> None:
        find = self._monkeypatch.setattr
        find(auto, "find_cuda_device", lambda: gpu)
        find(auto, "processor_flags", lambda path: flags)
        find(importlib.util, "find_spec", lambda name: object() if name in packages else None)
        find("seas_runtime.backends.tensorrt.library.tensorrt_version", lambda target: tensorrt)
        find("onnxruntime.get_available_providers", lambda: list(providers))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_nothing_but_the_default(machine: Machine, tiny_bundle: Path) -> None:
    machine.has("onnxruntime")
    choice = choose(tiny_bundle)
    assert choice.backend == "cpu"
    assert "openvino: this processor does not multiply bfloat16" in choice.in_words()


def test_openvino_where_it_is_installed_and_the_processor_gains_by_it(
    machine: Machine, tiny_bundle: Path
) -> None:
    machine.has("onnxruntime", "openvino", flags=BFLOAT16)
    assert choose(tiny_bundle).backend == "openvino"
    machine.has("onnxruntime", "openvino")
    assert choose(tiny_bundle).backend == "cpu"
    machine.has("onnxruntime", flags=BFLOAT16)
    choice = choose(tiny_bundle)
    assert choice.backend == "cpu"
    assert install("openvino") in choice.in_words()


def test_an_openvino_that_is_broken_is_passed_over(
    machine: Machine, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr("seas_runtime.backends.openvino.importing.import_openvino", fail)
    machine.has("onnxruntime", "openvino", flags=BFLOAT16)
    choice = choose(tiny_bundle)
    assert choice.backend == "cpu"
    assert "libtbb.so.12" in choice.in_words()
    assert "pip install --force-reinstall --no-deps openvino" in choice.in_words()


def test_cuda_where_onnxruntime_has_it(machine: Machine, tiny_bundle: Path) -> None:
    machine.has("onnxruntime", gpu=DEVICE, providers=("CUDAExecutionProvider",))
    assert choose(tiny_bundle).backend == "cuda"
    machine.has("onnxruntime", gpu=DEVICE, providers=("CPUExecutionProvider",))
    assert choose(tiny_bundle).backend == "cpu"
    machine.has("onnxruntime", providers=("CUDAExecutionProvider",))
    assert choose(tiny_bundle).backend == "cpu"


def test_engines_come_first_where_they_are_built_and_current(machine: Machine, own_bundle: Path) -> None:
    machine.has("onnxruntime", "cuda", gpu=DEVICE, tensorrt=VERSION)
    choice = choose(own_bundle)
    assert choice.backend == "cpu"
    assert f"seas-export engine {own_bundle} --target rtx" in choice.in_words()
    build_engines(own_bundle, "rtx")
    assert choose(own_bundle).backend == "rtx"
    build_engines(own_bundle, "tensorrt")
    assert choose(own_bundle).backend == "tensorrt"
    machine.has("onnxruntime", "cuda", gpu=DEVICE, tensorrt="99.0")
    assert choose(own_bundle).backend == "cpu"


def test_nothing_installed_is_an_error(machine: Machine, tiny_bundle: Path) -> None:
    with pytest.raises(UserError, match=rf"--backend auto: .*{re.escape(install('runtime'))}"):
        choose(tiny_bundle)


def test_candidates_without_a_bundle_are_those_of_the_machine(machine: Machine) -> None:
    machine.has("onnxruntime", "cuda", gpu=DEVICE, tensorrt=VERSION)
    assert [item.backend for item in candidates() if item.usable] == ["tensorrt", "rtx", "cpu"]


def test_a_generator_says_what_it_took(machine: Machine, tiny_bundle: Path) -> None:
    machine.has("onnxruntime")
    generator = Generator.open(tiny_bundle, "auto", threads=1)
    assert generator.backend.name == "cpu"
    assert generator.chosen is not None
    assert generator.chosen.startswith("backend cpu: ONNX Runtime")
    assert Generator.open(tiny_bundle, threads=1).chosen is None
