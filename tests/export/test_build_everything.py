"""`build --all` and presets: every product is tried, and how each ended is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from seas_export.config.build import load_config
from seas_export.config.presets import PRESETS
from seas_export.pipeline import everything
from seas_train.data.layouts import Layout
from seas_train.data.published import PUBLISHED
from tests.export.commands import Run

# Stands in for one product's build, which its own tests cover: ends as the product's name says.
CHILD = """
import json, os, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
name, out = options["--product"], options["--out"]
config = json.load(open(options["--config"]))
assert "strict" not in config
assert "product" not in config and "data" not in config and "out" not in config
os.makedirs(out, exist_ok=True)
open(os.path.join(out, "seen.json"), "w").write(json.dumps([options["--data"], config]))
if name == "mistake":
    sys.exit(print("error: the photographs are missing", file=sys.stderr) or 2)
if name == "broken":
    sys.exit(print("failed: training diverged", file=sys.stderr) or 1)
if name == "killed":
    os.kill(os.getpid(), 9)
record = os.path.join(out, "build.json")
states = {"unlearnt": {"dent": "usable", "crack": "not usable"}, "a": {"dent": "doubtful"}}
if not os.path.exists(record):
    open(record, "w").write(json.dumps({"parts": {"train": {"key": "1"}}, "verdicts": states.get(name, {})}))
"""


@pytest.fixture
def products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to put products into, whose builds are the child above."""
    monkeypatch.setattr(everything, "_command", lambda: [sys.executable, "-c", CHILD])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def add(products: Path, *names: str) -> None:
    for name in names:
        (products / name / "ground_truth").mkdir(parents=True)


def states(ended: object) -> dict[str, str]:
    return {entry["product"]: entry["state"] for entry in ended.json["products"]}


@pytest.mark.parametrize("jobs", [1, 3])
def test_one_that_fails_does_not_stop_the_others(run: Run, products: Path, jobs: int) -> None:
    add(products, "a", "broken", "killed", "mistake", "z")
    ended = run("build", "--all", "--data", products, "--jobs", jobs, "--json")
    assert states(ended) == {
        "a": "built",
        "broken": "failed",
        "killed": "failed",
        "mistake": "failed",
        "z": "built",
    }
    assert ended.code == 1
    assert "3 of 5 products: broken, killed, mistake" in ended.err
    words = {entry["product"]: entry["words"] for entry in ended.json["products"]}
    assert words["broken"] == "failed: training diverged"
    assert words["mistake"] == "error: the photographs are missing"
    assert "ended with code -9" in words["killed"]
    assert (Path("out") / "broken.log").exists() is (jobs > 1)


def test_what_is_current_is_said_and_the_code_is_right(run: Run, products: Path) -> None:
    add(products, "a", "b")
    assert run("build", "--all", "--data", products, "--out", "made").code == 0
    add(products, "c")
    ended = run("build", "--all", "--data", products, "--out", "made", "--json")
    assert ended.code == 0
    assert states(ended) == {"a": "current", "b": "current", "c": "built"}
    said = run("build", "--all", "--data", products, "--out", "made").out
    assert "3 products: 3 current" in said


@pytest.mark.parametrize("strict", [False, True])
def test_verdicts_are_summed_up(run: Run, products: Path, strict: bool) -> None:
    """A defect that is not usable does not fail its product; with --strict it fails the command."""
    add(products, "a", "unlearnt", "z")
    words = ("build", "--all", "--data", products, *(["--strict"] if strict else []))
    ended = run(*words, "--json")
    assert ended.code == int(strict)
    assert ("unlearnt/crack" in ended.err) is strict
    assert states(ended) == {"a": "built", "unlearnt": "built", "z": "built"}
    found = {entry["product"]: entry["verdicts"] for entry in ended.json["products"]}
    assert found == {
        "a": {"dent": "doubtful"},
        "unlearnt": {"dent": "usable", "crack": "not usable"},
        "z": {},
    }
    lines = run(*words).out.splitlines()
    assert any(line.startswith("unlearnt") and "1 usable, 1 not usable (crack)" in line for line in lines)
    assert lines[-1] == "verdict: 1 usable, 1 doubtful, 1 not usable of 3 defects"


def test_only_mistakes_end_as_a_mistake(run: Run, products: Path) -> None:
    add(products, "a", "mistake")
    assert run("build", "--all", "--data", products).code == 2


def test_options_and_file_reach_every_product(run: Run, products: Path) -> None:
    add(products, "a")
    Path("all.yaml").write_text(f"data: {products}\nout: there\nphotographs:\n  fit: pad\nseed: 4\n")
    assert run("build", "--all", "--config", "all.yaml", "--seed", 5, "--set", "export.steps=9").code == 0
    data, config = yaml.safe_load(Path("there/a/seen.json").read_text())
    assert data == str(products)
    assert config == {"photographs": {"fit": "pad"}, "seed": 5, "export": {"steps": 9}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--all", "--product", "a"), "Give one of them"),
        (("--all", "--data", "nowhere"), "no such folder"),
        (("--all", "--data", "."), "found none in it"),
        (("--all", "--jobs", 0), "--jobs"),
        (("--all", "--fit", "bend"), "photographs.fit"),
        (("--product", "a", "--jobs", 2), "only used with --all"),
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_is_built(
    run: Run, products: Path, words: tuple[object, ...], said: str
) -> None:
    add(products, "a")
    ended = run("build", *words)
    assert ended.code == 2
    assert said in ended.err
    assert not Path("out").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_configuration(run: Run, tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.yaml"
    assert run("preset", name, "--out", file).code == 0
    config = load_config(file, {"product": "bottle"})
    assert config.photographs.layout == name
    expected = {"mvtec": (8, True), "visa": (2, False), "mvtec3d": (5, True)}[name]
    train = config.train
    assert (train["generation"]["guidance"], train["finetune"]["rotate"]) == expected
    assert train["finetune"]["flip"] is train["finetune"]["rotate"]
    assert run("preset", name).out == file.read_text()
    for entry in PUBLISHED.values():
        if entry.layout is Layout(name):
            assert f"#   {entry.product}: {', '.join(entry.defects)}\n" in file.read_text()
    assert run("preset", name, "--out", file).code == 2
    assert run("preset", name, "--out", file, "--force").code == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_the_layout_does_by_itself(name: str) -> None:
    """So that `build --product bottle --data mvtec_anomaly_detection` needs no preset."""
    from seas_train.methods.seas.config import AUTHORS_GUIDANCE

    values = yaml.safe_load(
        (Path(everything.__file__).parents[1] / f"config/presets/{name}.yaml").read_text()
    )
    assert AUTHORS_GUIDANCE[Layout(name)] == values["train"]["generation"]["guidance"]


def test_a_preset_that_is_none(run: Run) -> None:
    ended = run("preset", "imagenet")
    assert ended.code == 2
    assert "mvtec (MVTec AD)" in ended.err
