"""Killed at any moment and started again, a dataset ends as one that was never killed: to the byte."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.files import TEMPORARY_SUFFIX
from seas_runtime.generation.generator import Generator
from tests.runtime.datasets import WRITE, read_records, snapshot
from tests.runtime.interpreters import run_python, start_python

COUNT, BATCH = 20, 3
REQUEST = DatasetRequest(("all",), COUNT, seed=3, batch=BATCH)


@pytest.fixture(scope="module")
def unbroken(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an uninterrupted run: 20 pairs each of two defects and normals."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    write_dataset(generator, REQUEST, out)
    return snapshot(out)


def kill_after(bundle: Path, out: Path, pairs: int, delay: float) -> int:
    """Kill the writer, -9, `delay` seconds after it reported `pairs` or more done; return how many."""
    done = 0
    with start_python(WRITE, str(bundle), str(out), str(COUNT), str(BATCH), "0.01") as process:
        assert process.stdout is not None
        for line in process.stdout:
            done = int(line)
            if done >= pairs:
                break
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    return done


def test_killed_three_times(tiny_bundle: Path, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    reached = [
        kill_after(tiny_bundle, out, pairs, delay) for pairs, delay in ((1, 0.003), (17, 0.0), (38, 0.007))
    ]
    assert reached[0] < reached[1] < reached[2] < 60
    status, output, errors = run_python(WRITE, str(tiny_bundle), str(out), str(COUNT), str(BATCH), "0")
    assert status == 0, errors
    assert int(output.splitlines()[0]) >= 36  # it continued: what was whole was not made again
    assert snapshot(out) == unbroken


@pytest.mark.parametrize("cut", [1, 40, 400, 2000, 9000])
def test_records_cut_anywhere(
    generator: Generator, tmp_path: Path, unbroken: dict[str, bytes], cut: int
) -> None:
    out = tmp_path / "out"
    write_dataset(generator, REQUEST, out)
    records = out / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-cut])
    summary = write_dataset(generator, REQUEST, out)
    assert summary.continued == 60 if cut == 1 else summary.continued < 60  # only the line's end is missing
    assert snapshot(out) == unbroken


def test_files_lost_and_left_over(generator: Generator, tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    write_dataset(generator, REQUEST, out)
    lost = next(record for record in read_records(out) if record["accepted"] and record["index"] == 7)
    (out / lost["files"]["mask"]).write_bytes(b"")  # what a killed writer was at
    (out / "contact_sheet.png").unlink()
    (out / f"test/stain/.000001.png.abcd1234{TEMPORARY_SUFFIX}").write_bytes(b"half a pict")
    (out / f".records.jsonl.abcd1234{TEMPORARY_SUFFIX}").write_bytes(b"half a line")
    rejected = next(record for record in read_records(out) if not record["accepted"])
    left = f"test/{rejected['defect']}/{rejected['index']:06d}.png"
    (out / left).write_bytes(b"left over")
    (out / ".pending.json").write_text(json.dumps({"files": [left, lost["files"]["mask"]]}))
    lines = (out / "records.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["index"] not in (rejected["index"], 7)]
    (out / "records.jsonl").write_text("\n".join([*kept, "not a record", "[1]", '{"defect": 3}', ""]))
    summary = write_dataset(generator, REQUEST, out)
    assert summary.continued < 57
    assert snapshot(out) == unbroken


def test_a_finished_dataset_is_not_touched(generator: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset(generator, REQUEST, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("0*.png")}
    data = (out / "records.jsonl").read_bytes()
    assert write_dataset(generator, REQUEST, out).continued == 60
    assert {path: path.stat().st_mtime_ns for path in out.rglob("0*.png")} == before
    assert (out / "records.jsonl").read_bytes() == data
