"""`--backend` on the commands that generate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.export.commands import Run
from tests.runtime.datasets import snapshot


@pytest.fixture
def bundle(toy_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle, tmp_path / "bundle"))


def test_auto_says_what_it_takes(run: Run, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = run("generate", bundle, "--defect", "good", "--count", 1, "--backend", "auto", "--out", out)
    assert ended.code == 0
    taken = json.loads((out / "dataset.json").read_text())["backend"]
    assert f"backend {taken}: " in ended.err
    assert "passed over: tensorrt: " in ended.err


def test_another_backend_does_not_continue_a_dataset(run: Run, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    words = ("generate", bundle, "--defect", "good", "--out", tmp_path / "out", "--count")
    assert run(*words, 1).code == 0
    ended = run(*words, 2, "--backend", "openvino:fp32")
    assert ended.code == 2
    assert "another backend: expected 'openvino', found 'cpu'" in " ".join(ended.err.split())


def test_bench_measures_a_backend(run: Run, bundle: Path) -> None:
    pytest.importorskip("openvino")
    ended = run("bench", bundle, "--backend", "openvino:fp32", "--batches", 1, "--pairs", 1, "--json")
    assert ended.code == 0
    assert ended.json["backend"] == "openvino"
    assert ended.json["backend_identity"]["precision"] == "fp32"


@pytest.mark.parametrize("command", ["generate", "bench"])
def test_an_unknown_backend(run: Run, bundle: Path, tmp_path: Path, command: str) -> None:
    words = ("--defect", "good", "--out", tmp_path / "out") if command == "generate" else ()
    ended = run(command, bundle, "--backend", "onnx", *words)
    assert ended.code == 2
    assert "expected one of cpu, openvino, cuda, tensorrt, rtx, auto" in " ".join(ended.err.split())


def test_build_refuses_an_unknown_backend_before_any_work(run: Run, tmp_path: Path) -> None:
    ended = run("build", "--product", "bottle", "--out", tmp_path / "out", "--backend", "onnx")
    assert ended.code == 2
    assert "generate.backend" in ended.err
    assert not (tmp_path / "out").exists()


def test_doctor_shows_what_auto_goes_through(run: Run) -> None:
    found = run("doctor", "--quick", "--json").json
    assert [item["backend"] for item in found["auto"]] == ["tensorrt", "rtx", "cuda", "openvino", "cpu"]
    assert next(item for item in found["auto"] if item["backend"] == "cpu")["usable"]
    assert "--backend auto takes the first" in run("doctor", "--quick").out


def test_generate_on_devices(run: Run, bundle: Path, tmp_path: Path) -> None:
    words = ("generate", bundle, "--defect", "good", "--count", 3, "--threads", 1, "--out")
    assert run(*words, tmp_path / "one").code == 0
    ended = run(*words, tmp_path / "other", "--backend", "cpu", "--devices", "all")
    assert ended.code == 0, ended.err
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")


def test_devices_that_are_not_there(run: Run, bundle: Path, tmp_path: Path) -> None:
    ended = run("generate", bundle, "--defect", "good", "--devices", "0,1", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "backend cpu runs on the processor" in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()


def test_shards_by_url_and_merge(run: Run, bundle: Path, tmp_path: Path) -> None:
    words = ("generate", bundle, "--defect", "all", "--count", 3, "--threads", 1, "--out")
    assert run(*words, tmp_path / "one").code == 0
    url = f"file://{tmp_path}/store"
    ended = run(*words, url, "--shard-pairs", 4)
    assert ended.code == 0, ended.err
    assert "3 shards written" in ended.out
    ended = run("merge", url, "--out", tmp_path / "other", "--json")
    assert ended.json["pairs"] == 9
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")


def test_options_of_folders_and_of_urls(run: Run, bundle: Path, tmp_path: Path) -> None:
    words = ("generate", bundle, "--defect", "good", "--out")
    ended = run(*words, tmp_path / "out", "--part", "1/2")
    assert ended.code == 2
    assert "are of URLs" in ended.err
    ended = run(*words, f"file://{tmp_path}/store", "--force")
    assert ended.code == 2
    assert "never changed" in ended.err
