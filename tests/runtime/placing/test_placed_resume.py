"""Placed pairs: killed in the middle and started again, a run ends as one that was never killed."""

from __future__ import annotations

import signal
from pathlib import Path

from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import Placing
from tests.runtime.datasets import WRITE, snapshot
from tests.runtime.interpreters import run_python, start_python
from tests.runtime.placing.photographs import write_placing_bundle

COUNT, BATCH = 20, 3
WRITE_PLACED = WRITE.replace("int(batch))", "int(batch), placing=Placing())").replace(
    "bundle, out", "from seas_runtime.methods.request import Placing\nbundle, out", 1
)


def test_killed_in_the_middle(tmp_path: Path) -> None:
    bundle = write_placing_bundle(tmp_path / "bundle")
    request = DatasetRequest(("all",), COUNT, 3, BATCH, placing=Placing())
    write_dataset(Generator.open(bundle, threads=1), request, tmp_path / "unbroken")
    out = tmp_path / "out"
    arguments = (str(bundle), str(out), str(COUNT), str(BATCH))
    done = 0
    with start_python(WRITE_PLACED, *arguments, "0.02") as process:
        assert process.stdout is not None
        for line in process.stdout:
            done = int(line)
            if done >= 25:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    assert 25 <= done < 3 * COUNT
    status, output, errors = run_python(WRITE_PLACED, *arguments, "0")
    assert status == 0, errors
    assert int(output.splitlines()[0]) >= 24  # it continued
    assert snapshot(out) == snapshot(tmp_path / "unbroken")
