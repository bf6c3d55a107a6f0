"""The script for a GPU box: without one it skips everything, in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import on_gpu
import pytest
from on_gpu import INT8, MEASUREMENTS, RESULT, Measurement

from seas_runtime.backends.cuda.device import CudaDevice

SCRIPT = Path(__file__).parents[2] / "benchmarks/on_gpu.sh"
CARD = CudaDevice("A card", "8.9", False, 24 << 30, 20 << 30)


def script(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    values = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": paths, **environment}
    return subprocess.run(
        ["sh", str(SCRIPT), *map(str, words)], capture_output=True, text=True, env=values, check=False
    )


def test_without_a_gpu_or_time_all_is_skipped_in_words(tmp_path: Path) -> None:
    ended = script("measure", tmp_path, SECONDS_AT_MOST="5")
    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / RESULT).read_text())
    assert list(result["measured"]) == [item.name for item in MEASUREMENTS]
    assert result["machine"]["processor"]
    for name, entry in result["measured"].items():
        assert len(entry["skipped"]) > 10
        assert f"{name}: {entry['skipped']}" in ended.stdout
    assert "no FP8" in result["measured"]["FP8 on 8.9 and newer"]["skipped"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: "),
        (("measure",), "usage: "),
        (("dance", "kit"), "usage: "),
        (("measure", "nowhere"), "nowhere: expected the folder that prepare made, found none"),
    ],
)
def test_mistakes(words: tuple[str, ...], said: str) -> None:
    ended = script(*words)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_wheels_that_are_not_there(tmp_path: Path) -> None:
    ended = script("measure", tmp_path, tmp_path / "wheels")
    assert ended.returncode == 2
    assert "expected a folder of wheels, found none" in ended.stderr


@pytest.fixture
def with_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "find_cuda_device", lambda index=0, *, free=False: CARD)


@pytest.mark.usefixtures("with_a_card")
def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "_installed", lambda package: None if package == "tensorrt" else "1.7")
    found = on_gpu.measure(tmp_path, 30.0)
    said = {name: entry["skipped"] for name, entry in found.items()}
    assert said[f"{INT8} on tensorrt: seconds and memory"] == "tensorrt is not installed"
    assert said[f"{INT8} on rtx: seconds and memory"].startswith(f"the kit has no bundle {INT8}")
    assert "8.5.3.1 is not installed" in said["TensorRT 8.5.3.1"]


@pytest.mark.usefixtures("with_a_card")
def test_results_and_failures(tmp_path: Path) -> None:
    print_json = "import json; print(json.dumps({'seconds': 2}))"
    write_json = "import json, sys; open(sys.argv[2], 'w').write(json.dumps({'passed': False})); sys.exit(1)"
    mark = tmp_path / "built"
    items = [
        Measurement("printed", ["-c", print_json], before=["-c", f"open({str(mark)!r}, 'w')"]),
        Measurement("written, its bar missed", ["-c", write_json, "--out", "{out}"]),
        Measurement("broken", ["-c", "raise SystemExit('no such card')"]),
        Measurement("silent", ["-c", "pass"]),
        Measurement("without its engine", ["-c", print_json], before=["-c", "raise SystemExit(3)"]),
    ]
    found = on_gpu.measure(tmp_path, 600.0, items)
    assert found["printed"]["result"] == {"seconds": 2}
    assert found["printed"]["gpu_memory_mib"] == 4 << 10
    assert mark.exists()
    assert found["written, its bar missed"]["result"] == {"passed": False}
    assert "ended with 1: no such card" in found["broken"]["failed"]
    assert "printed no JSON" in found["silent"]["failed"]
    assert "ended with 3" in found["without its engine"]["failed"]
    assert json.loads((tmp_path / RESULT).read_text())["measured"] == found


@pytest.mark.usefixtures("with_a_card")
def test_the_end_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "_LEAST", 0.5)
    items = [
        Measurement("endless", ["-c", "import time; time.sleep(600)"]),
        Measurement("too late", ["-c", "print(1)"]),
    ]
    found = on_gpu.measure(tmp_path, 1.0, items)
    assert "when the time was spent" in found["endless"]["failed"]
    assert found["too late"] == {"skipped": "no time was left"}
