"""What happens beside the device's work: noise of the next batch, files of the last one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seas_runtime.dataset.writing as dataset
from seas_runtime import Sampling
from seas_runtime.backends.onnxruntime.cpu import OnnxRuntimeSession
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.loop import Loop
from tests.runtime.datasets import snapshot

CALLS_A_BATCH = 5 + 3 + 1  # steps, masks, image


def test_the_next_batch_is_drawn_while_this_one_runs(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    second_is_drawn = threading.Event()
    prepare, run = Loop.prepare, Loop.run

    def noting(self: Loop, asked: Any, attempt: int) -> Any:
        drawn.append(asked[0].index)
        if asked[0].index == 4:
            assert threading.current_thread() is not threading.main_thread()
            second_is_drawn.set()
        return prepare(self, asked, attempt)

    def waiting(self: Loop, asked: Any, *rest: Any) -> Any:
        if asked[0].index == 0:
            assert second_is_drawn.wait(10)
        return run(self, asked, *rest)

    monkeypatch.setattr(Loop, "prepare", noting)
    monkeypatch.setattr(Loop, "run", waiting)
    generator = Generator.open(tiny_bundle, threads=1)
    assert len(list(generator.generate("stain", 12, batch=4, gate=False))) == 12
    assert drawn == [0, 4, 8]


def test_an_error_of_the_writer_stops_the_batch_in_the_making(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    failed = threading.Event()
    bind = OnnxRuntimeSession.bind

    def failing(*_: Any) -> int:
        failed.set()
        raise UserError("the disk is full")

    def counting(self: OnnxRuntimeSession, *places: Any) -> Callable[[], None]:
        call = bind(self, *places)

        def counted() -> None:
            nonlocal calls
            calls += 1
            if calls > CALLS_A_BATCH:
                assert failed.wait(10)
                threading.Event().wait(0.01)  # the writer's thread ends meanwhile
            call()

        return counted

    monkeypatch.setattr(dataset._Place, "write", failing)
    monkeypatch.setattr(OnnxRuntimeSession, "bind", counting)
    generator = Generator.open(tiny_bundle, threads=1)
    with pytest.raises(UserError, match="the disk is full"):
        write_dataset(
            generator, DatasetRequest(("stain",), 40, sampling=Sampling(gate=False)), tmp_path / "out"
        )
    assert CALLS_A_BATCH <= calls < 2 * CALLS_A_BATCH


def test_defects_share_one_stream_of_batches(generator: Generator, tmp_path: Path) -> None:
    """Pairs of a dataset are those of each defect generated alone."""
    write_dataset(generator, DatasetRequest(("stain", "good"), 6, 3), tmp_path / "both")
    write_dataset(generator, DatasetRequest(("stain",), 6, 3), tmp_path / "one")
    both, one = snapshot(tmp_path / "both"), snapshot(tmp_path / "one")
    images = [name for name in one if name.endswith("_mask.png") or name.startswith("test/")]
    assert images
    assert all(both[name] == one[name] for name in images)


@pytest.mark.parametrize(("key", "value"), [("backend", "openvino"), ("backend_version", "onnxruntime 0.1")])
def test_another_backend_or_version_is_not_continued(
    generator: Generator, tmp_path: Path, key: str, value: str
) -> None:
    out = tmp_path / "out"
    write_dataset(generator, DatasetRequest(("good",), 2), out)
    description = json.loads((out / "dataset.json").read_text())
    (out / "dataset.json").write_text(json.dumps({**description, key: value}))
    with pytest.raises(UserError, match=f"another {key}: .*--force"):
        write_dataset(generator, DatasetRequest(("good",), 3), out)


def test_a_dataset_of_an_earlier_version_is_continued(generator: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(generator, DatasetRequest(("good",), 4), out)
    description = json.loads((out / "dataset.json").read_text())
    del description["backend_version"]
    (out / "dataset.json").write_text(json.dumps(description))
    assert write_dataset(generator, DatasetRequest(("good",), 8), out).continued == 4
