"""How a build ends that gives no engine: with a real process, and without a GPU or the library."""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from seas_engines.building import subprocess as build
from seas_engines.building import worker as worker_module
from seas_engines.building.subprocess import run_worker
from seas_engines.building.worker import WorkerSpec
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.types import TensorSpec


@pytest.fixture
def spec(tmp_path: Path) -> WorkerSpec:
    folder = tmp_path / "step"
    folder.mkdir()
    shapes = {"latents": ("batch", 4), "context": ("steps", 8), "image": ("batch", 8)}
    out = str(folder / "engine.bin")
    return WorkerSpec(str(folder / "graph.onnx"), shapes, out, "rtx", ("8.6",), (1, 2, 4), 25)


def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let another program be the worker."""
    file = tmp_path / "worker.py"
    file.write_text(textwrap.dedent(code))
    popen = build.subprocess.Popen
    monkeypatch.setattr(
        build.subprocess,
        "Popen",
        lambda words, **options: popen([sys.executable, str(file), *words[3:]], **options),
    )


def test_a_specification_survives_its_file(spec: WorkerSpec, tmp_path: Path) -> None:
    spec.write(tmp_path / "spec.json")
    assert WorkerSpec.read(tmp_path / "spec.json") == spec


def test_progress_and_tensors(spec: WorkerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(
        monkeypatch,
        tmp_path,
        """
        import json
        print("noise of a library", flush=True)
        print(json.dumps({"phase": "Building", "done": 1, "total": 3}))
        print(json.dumps({"phase": "Building", "finished": True}))
        tensors = {
            "inputs": [{"name": "latents", "dtype": "float32", "shape": [-1, 4]},
                       {"name": "context", "dtype": "float32", "shape": [-1, 8]}],
            "outputs": [{"name": "image", "dtype": "uint8", "shape": [-1, 8]}],
        }
        print(json.dumps({"done": True, "seconds": 1.5, "peak": 7, "tensors": tensors}))
        """,
    )
    seen: list[tuple[str, int, int]] = []
    built = run_worker(spec, tmp_path, lambda *news: seen.append(news))
    assert seen == [("Building", 1, 3)]
    assert (built.seconds, built.peak) == (1.5, 7)
    assert built.inputs[1] == TensorSpec("context", "float32", ("steps", 8))
    assert built.outputs == (TensorSpec("image", "uint8", ("batch", 8)),)


def test_a_table_of_the_steps_is_profiled_as_one(spec: WorkerSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges: dict[str, list[tuple[int, ...]]] = {}

    class Profile:
        def add(self, name: str, *sizes: tuple[int, ...]) -> None:
            ranges[name] = list(sizes)

    monkeypatch.setitem(sys.modules, "polygraphy.backend.trt", SimpleNamespace(Profile=Profile))
    shapes: dict[str, tuple[int | str, ...]]
    shapes = {"context": ("steps", 3, 2), "latents": ("batch", 4), "guidance": (1,)}
    tensors = [
        SimpleNamespace(name=name, shape=[-1 if isinstance(size, str) else size for size in shape])
        for name, shape in shapes.items()
    ]
    network = SimpleNamespace(num_inputs=len(tensors), get_input=tensors.__getitem__)
    worker_module._profile(replace(spec, shapes=shapes), network)
    assert ranges == {
        "context": [(1, 3, 2), (25, 3, 2), (1000, 3, 2)],
        "latents": [(1, 4), (2, 4), (4, 4)],
    }


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed, most likely for want of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its builder crashed .SIGSEGV."),
        ("import sys; sys.exit(7)", "its builder ended with code 7"),
        ("", "its builder ended with code 0"),
        (
            'import json; print(json.dumps({"error": "no", "memory": True})); raise SystemExit(1)',
            "out of memory; close other programs, give a smaller --batch, .* --ship-engines",
        ),
        (
            """
            import sys
            print("[E] cannot read node 7", file=sys.stderr)
            print('{"error": "not parsed"}')
            sys.exit(1)
            """,
            "not parsed\n  .E. cannot read node 7",
        ),
    ],
)
def test_builders_that_fail(
    spec: WorkerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    worker(monkeypatch, tmp_path, code)
    with pytest.raises(CheckFailed, match=words):
        run_worker(spec, tmp_path)


def test_an_interrupted_build_takes_its_builder_along(
    spec: WorkerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(
        monkeypatch,
        tmp_path,
        """
        import json, os, time
        print(json.dumps({"phase": str(os.getpid()), "done": 0, "total": 1}), flush=True)
        time.sleep(600)
        """,
    )
    pids: list[int] = []

    def interrupt(phase: str, done: int, total: int) -> None:
        pids.append(int(phase))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_worker(spec, tmp_path, interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
