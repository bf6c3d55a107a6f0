"""OpenVINO on the CPU: precision, what is compiled for which batch size, and what is kept of it."""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.backends.contract import open_backend
from seas_runtime.backends.cores import processor_flags
from seas_runtime.engines.errors import EngineStoreUnwritable
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from tests.runtime.bundles import kept_engines

pytest.importorskip("openvino")
from seas_runtime.backends.openvino import cpu as openvino_cpu
from seas_runtime.backends.openvino import session as openvino_session
from seas_runtime.backends.openvino.cache import CompiledGraph

GRAPHS = ["decode_image", "decode_mask", "step"]


def test_bfloat16_is_close_where_the_processor_has_it(generator: Generator, own_bundle: Path) -> None:
    if not processor_flags(Path("/proc/cpuinfo")) & {"avx512_bf16", "amx_bf16"}:
        with pytest.raises(UserError, match="expected a processor with bfloat16 products"):
            open_backend("openvino:bf16", threads=1)
        return
    ours = Generator.open(own_bundle, "openvino", threads=1)
    assert ours.backend.identity(ours.bundle)["precision"] == "bf16"
    expected = list(generator.generate("stain", 4, gate=False))
    made = list(ours.generate("stain", 4, gate=False))
    apart = [
        np.abs(one.image.astype(int) - other.image).max() for one, other in zip(made, expected, strict=True)
    ]
    assert 0 < max(apart) <= 16


@pytest.fixture
def keeping(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A bundle whose graphs OpenVINO has compiled and kept, and a list that names each compiled later."""
    next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))
    saved: list[str] = []
    save = CompiledGraph.save

    def noting(self: CompiledGraph, *rest: Any) -> None:
        saved.append(self._graph)
        save(self, *rest)

    monkeypatch.setattr(CompiledGraph, "save", noting)
    return own_bundle, saved


def test_openvino_compiles_a_graph_once(keeping: tuple[Path, list[str]], generator: Generator) -> None:
    bundle, saved = keeping
    ours = Generator.open(bundle, "openvino:fp32", threads=1)
    made, expected = next(ours.generate("stain", 1)), next(generator.generate("stain", 1))
    assert saved == []
    assert np.abs(made.image.astype(int) - expected.image).max() <= 1
    next(Generator.open(bundle, "openvino:fp32", threads=2).generate("stain", 1))
    assert sorted(saved) == ["decode_image", "decode_mask", "step"]  # other options, another compilation


def test_what_openvino_kept_is_not_read_once_it_was_changed(keeping: tuple[Path, list[str]]) -> None:
    bundle, saved = keeping
    for file in (bundle / "engines").glob("*/engine.bin"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    next(Generator.open(bundle, "openvino:fp32", threads=1).generate("stain", 1))
    assert sorted(saved) == ["decode_image", "decode_mask", "step"]
    saved.clear()
    next(Generator.open(bundle, "openvino:fp32", threads=1).generate("stain", 1))
    assert saved == []


def test_openvino_runs_where_nothing_can_be_kept(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(*_: Any) -> None:
        raise EngineStoreUnwritable("the file system is read-only")

    monkeypatch.setattr(EngineStore, "add", refuse)
    assert next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))


def kept_sizes(bundle: Path) -> list[tuple[str, tuple[int, int]]]:
    """Return graph and batch sizes of everything kept, sorted."""
    found = kept_engines(bundle)
    return sorted((item.graph, (item.batch.minimum, item.batch.maximum)) for item in found)


def test_a_small_bundle_is_compiled_for_each_batch_size(
    keeping: tuple[Path, list[str]], generator: Generator
) -> None:
    bundle, saved = keeping
    ours = Generator.open(bundle, "openvino:fp32", threads=1)
    made = list(ours.generate("stain", 5, batch=3, gate=False))  # three and two
    expected = list(generator.generate("stain", 5, batch=3, gate=False))
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.abs(one.probability - other.probability).max() < 1e-4
    assert sorted(saved) == sorted(GRAPHS * 2)
    assert kept_sizes(bundle) == [(graph, (size, size)) for graph in GRAPHS for size in (1, 2, 3)]
    # The other length of the schedule is no other size.
    next(ours.generate("stain", 3, batch=3, steps=3, gate=False))
    assert len(saved) == 2 * len(GRAPHS)


def test_a_large_bundle_is_compiled_once_for_every_batch_size_and_not_kept(
    own_bundle: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_cpu, "SMALL_BUNDLE", 0)
    compiled: list[str] = []
    compile_graph = openvino_cpu.OpenVinoCpu._compile

    def noting(self: Any, file: Path, *rest: Any) -> Any:
        compiled.append(file.file.stem)
        return compile_graph(self, file, *rest)

    monkeypatch.setattr(openvino_cpu.OpenVinoCpu, "_compile", noting)
    ours = Generator.open(own_bundle, "openvino:fp32", threads=1)
    made = list(ours.generate("stain", 5, batch=3, gate=False))
    expected = list(generator.generate("stain", 5, batch=3, gate=False))
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
    assert sorted(compiled) == GRAPHS
    assert kept_sizes(own_bundle) == []


def test_what_is_compiled_goes_with_its_plans(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch sizes come and go; their weights must not pile up in memory."""
    references: list[weakref.ref[Any]] = []
    made = openvino_session._Request.__init__

    def noting(self: Any, *given: Any) -> None:
        made(self, *given)
        references.append(weakref.ref(self))

    monkeypatch.setattr(openvino_session._Request, "__init__", noting)
    ours = Generator.open(own_bundle, "openvino:fp32", threads=4)
    for size in range(1, 7):
        next(ours.generate("stain", size, batch=size, gate=False))
    assert len(references) == 6 * len(GRAPHS)
    assert sum(reference() is not None for reference in references) == 4 * len(GRAPHS)  # of four plans


def test_what_writes_and_converts_models_stays_out() -> None:
    """It takes longer to import than the rest of OpenVINO, and has telemetry."""
    code = (
        "import sys; from seas_runtime.backends.contract import open_backend; open_backend('openvino');"
        "parts = ('openvino.tools', 'openvino_telemetry', 'openvino.opset');"
        "print(*[name for name in sys.modules if name.startswith(parts)]);"
        "from openvino.tools.ovc import convert_model;"
        "import openvino; assert openvino.opset1.parameter; assert openvino.opset13.relu;"
        "from openvino import opset8; assert opset8.gather;"
        "assert not hasattr(openvino, 'opset999') and not hasattr(openvino, 'other')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("", 0), ended.stderr


def test_threads_may_read_their_first_constants_at_once(own_bundle: Path) -> None:
    script = """
import sys, threading
from seas_runtime.backends.openvino.importing import import_openvino
core = import_openvino().Core()
models = [core.read_model(sys.argv[1]) for _ in range(8)]
constants = [next(node for node in one.get_ops() if node.get_type_name() == "Constant") for one in models]
sys.setswitchinterval(1e-6)
together = threading.Barrier(len(constants))
read = lambda one: (together.wait(), one.data)
threads = [threading.Thread(target=read, args=(one,)) for one in constants]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    graph = own_bundle / "graphs" / "decode_mask.onnx"
    subprocess.run([sys.executable, "-c", script, str(graph)], check=True, timeout=120)
