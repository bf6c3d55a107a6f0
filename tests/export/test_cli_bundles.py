"""The commands that read a bundle, on a tiny one."""

import shutil
from pathlib import Path

import pytest

from tests.export.commands import Run


def test_inspect_says_what_a_bundle_is(run: Run, toy_bundle: Path) -> None:
    said = run("inspect", toy_bundle).out
    for words in ("broken_large, stain", "48x48", "dpmpp_2m, 5 steps, guidance 8", "Apache-2.0 (the toy)"):
        assert words in said


def test_inspect_as_json(run: Run, toy_bundle: Path) -> None:
    facts = run("inspect", toy_bundle, "--json").json
    assert facts["defects"] == ["broken_large", "stain"]
    assert facts["schedules"] == ["ddim_eta/4", "dpmpp_2m/3", "dpmpp_2m/5"]
    assert facts["references"] == 7


def test_verify_passes_a_whole_bundle(run: Run, toy_bundle: Path) -> None:
    ended = run("verify", toy_bundle, "--json")
    assert (ended.code, ended.json["whole"], ended.json["files"]) == (0, True, 7)


def test_verify_names_a_changed_file(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(toy_bundle, tmp_path / "bundle"))
    graph = bundle / "graphs" / "step.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(bytes(data))
    ended = run("verify", bundle)
    assert ended.code != 0
    assert "graphs/step.onnx" in ended.err
    assert run("inspect", bundle).code == 0  # which says nothing about hashes


def test_generate_writes_and_continues(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    words = (
        "generate",
        toy_bundle,
        "--threads",
        1,
        "--defect",
        "all",
        "--batch",
        1,
        "--out",
        tmp_path / "set",
        "--json",
    )
    assert run(*words, "--count", 3).json["continued"] == 0
    again = run(*words, "--count", 4).json
    assert again["continued"] == 9
    assert {name: entry["pairs"] for name, entry in again["defects"].items()} == {
        "broken_large": 4,
        "stain": 4,
        "good": 4,
    }


def test_generate_passes_every_option_on(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    from seas_runtime.files import read_json

    out = tmp_path / "set"
    options = (
        "--count",
        2,
        "--seed",
        5,
        "--batch",
        2,
        "--guidance",
        3,
        "--tau",
        0.4,
        "--steps",
        3,
        "--no-gate",
    )
    ended = run(
        "generate",
        toy_bundle,
        "--threads",
        1,
        "--threads",
        1,
        "--defect",
        "stain",
        "--defect",
        "good",
        "--out",
        out,
        *options,
    )
    assert ended.code == 0
    written = read_json(out / "dataset.json", "data set")
    found = {
        key: written[key] for key in ("defects", "count", "seed", "batch", "guidance", "tau", "steps", "gate")
    }
    assert found == {
        "defects": ["stain", "good"],
        "count": 2,
        "seed": 5,
        "batch": 2,
        "guidance": 3.0,
        "tau": 0.4,
        "steps": 3,
        "gate": False,
    }


@pytest.mark.parametrize("force", [False, True])
def test_generate_replaces_another_data_set_only_when_forced(
    run: Run, toy_bundle: Path, tmp_path: Path, force: bool
) -> None:
    words = (
        "generate",
        toy_bundle,
        "--threads",
        1,
        "--defect",
        "good",
        "--count",
        1,
        "--out",
        tmp_path / "set",
    )
    assert run(*words).code == 0
    ended = run(*words, "--seed", 1, *(("--force",) if force else ()))
    assert ended.code == (0 if force else 2)
