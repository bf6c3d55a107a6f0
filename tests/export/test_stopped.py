"""Commands that are told to end (SIGTERM) clean up as with Ctrl-C, and continue afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from seas_runtime.packages import child_environment
from tests.export.commands import Run
from tests.runtime.datasets import read_records

LONG = 60.0
"""Seconds to wait at most."""


def end(words: list[object], begun: Callable[[], bool], number: int) -> tuple[int, str]:
    """Run a command, send it the signal once it has `begun`; return its exit code and what it said."""
    command = [sys.executable, "-m", "seas_export", *map(str, words)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # under nohup it would be ignored
    )
    with process:
        until = time.monotonic() + LONG
        while not begun() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate(timeout=LONG)[1]
    return process.returncode, said


def temporaries(folder: Path) -> list[Path]:
    """Whatever is there while it is looked for: folders come and go meanwhile."""
    found = ((Path(place), folders + files) for place, folders, files in os.walk(folder))
    return [place / name for place, names in found for name in names if fnmatch(name, ".*seas-tmp*")]


def test_generate_that_is_told_to_end_cleans_up_and_continues(
    run: Run, toy_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    records = out / "records.jsonl"
    words = ["generate", toy_bundle, "--defect", "all", "--out", out, "--backend", "cpu", "--count"]
    code, said = end([*words, 5000], lambda: records.exists() and records.stat().st_size > 0, signal.SIGTERM)
    assert code == 143, said
    assert "interrupted." in said
    assert temporaries(tmp_path) == []
    made = {
        (out / path).read_bytes() for record in read_records(out) for path in (record["files"] or {}).values()
    }
    assert made
    ended = run(*words, 1)
    assert ended.code == 0, ended.err
    assert len(read_records(out)) % 3 == 0  # of every defect as many as there were of the first
    assert made <= {path.read_bytes() for path in out.rglob("0*.png")}
    assert not (out / ".pending.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_folder_that_is_half_made_when_its_command_is_told_to_end_goes(
    run: Run, tmp_path: Path, number: int
) -> None:
    words = ["sample", "--out", tmp_path / "data", "--size", "512"]
    code, said = end(words, lambda: bool(temporaries(tmp_path)), number)
    assert code == 128 + number, said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert temporaries(tmp_path) == []
    ended = run("sample", "--out", tmp_path / "data", "--size", "64")
    assert ended.code == 0, ended.err
