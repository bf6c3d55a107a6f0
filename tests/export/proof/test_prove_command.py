"""`seas-export prove`: what it writes, what it keeps, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from seas_export.proof.request import ProofOptions, ProveRequest
from seas_train.proof.classifiers.fitting import ClassifierRecipe
from seas_train.proof.fitting import Recipe
from tests.export.commands import Ended, Run
from tests.products import write_tiny_product

pytest.importorskip("sklearn", reason="the extra `prove` is not installed")

QUICK = ("--segmenter", "small", "--steps", 2, "--batch", 2, "--crop", 32, "--seeds", 1, "--pasted", 2)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_product(tmp_path_factory.mktemp("proved") / "plate", pairs=9, normals=4)


def proved(run: Run, product: Path, out: Path, *words: object) -> Ended:
    return run("prove", product, "--out", out, "--workers", 1, *QUICK, *words)


def test_results_are_written_and_trainings_are_kept(run: Run, product: Path, tmp_path: Path) -> None:
    out = tmp_path / "proof"
    first = proved(run, product, out)
    assert first.code == 0, first.err
    assert {path.name for path in out.iterdir()} >= {"proof.json", "proof.md", "proof.png", "trainings"}
    result = json.loads((out / "proof.json").read_text())
    assert set(result["figures"]) == {"real", "real + copy-paste"}
    assert set(result["figures"]["real"]) == {"pooled", "dark_line", "spot"}
    assert result["tested on"] == {"half": "development", "pairs": 6, "normals": 2}
    assert "1 seeds: too few" in first.out
    files = sorted((out / "trainings").iterdir())
    times = [file.stat().st_mtime_ns for file in files]
    files[0].write_bytes(b"damaged")
    again = proved(run, product, out, "--json")
    assert again.code == 0
    assert json.loads(again.out)["figures"] == result["figures"]
    assert again.json["seconds"]["trainings"] == 1
    assert [f.stat().st_mtime_ns for f in files][1:] == times[1:]


def test_halves_share_no_photograph_and_are_all_together(product: Path) -> None:
    from seas_export.proof.sets.held_out import Half, held_out
    from seas_train.data import load_product

    found = load_product(product, size=256)
    halves = {half: {one.image for one in held_out(found, 1.0, half)} for half in Half}
    assert not halves[Half.DEVELOPMENT] & halves[Half.TEST]
    assert halves[Half.DEVELOPMENT] | halves[Half.TEST] == halves[Half.ALL]
    train = {pair.image for defect in found.defects for pair in defect.train}
    assert not train & halves[Half.ALL]
    assert len(halves[Half.TEST]) == len(halves[Half.DEVELOPMENT]) == 8


def test_an_estimate_trains_nothing(run: Run, product: Path, tmp_path: Path) -> None:
    ended = proved(run, product, tmp_path / "proof", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["trainings"] == 2
    assert not (tmp_path / "proof" / "trainings").exists()


@pytest.mark.parametrize("words", [(), ("--steps", 7, "--rate", 0.5, "--share", 0.25, "--light", 2.0)])
def test_what_is_not_said_is_as_the_recipes_have_it(
    run: Run, product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    asked: list[ProveRequest] = []
    estimate = SimpleNamespace(to_dict=dict, words=lambda: "no time")

    def prove(request: ProveRequest, *_: object, **__: object) -> SimpleNamespace:
        asked.append(request)
        return estimate

    monkeypatch.setattr("seas_export.proof.prove.prove", prove)
    assert run("prove", product, "--out", tmp_path / "proof", *words).code == 0
    said = {str(name)[2:]: value for name, value in zip(words[::2], words[1::2], strict=True)}
    options = asked[0].options
    assert options.recipe == replace(Recipe(), **said)
    assert options.naming == replace(ClassifierRecipe(), **said)
    assert options == replace(ProofOptions(), recipe=options.recipe, naming=options.naming)
    shown = " ".join(run("prove", "--help").out.split())
    for recipe, kind in ((Recipe(), "segmenter"), (ClassifierRecipe(), "classifier")):
        assert f"{recipe.steps} of a {kind}" in shown
        assert f"{recipe.rate:g} of a {kind}" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--segmenter", "unit"), "expected one of unet"),
        (("--light", 0.5), "recipe.light: expected 1 to 4, found 0.5"),
        (("--half", "most"), "expected development | test | all"),
        (("--crop", 33), "a multiple of 32"),
        (("--seeds", 0), "seeds: expected 1 or more"),
        (("--with", "placed"), "--with placed: expected NAME=DATASET"),
        (("--with", "real=x"), "--with real=x: expected NAME=DATASET"),
        (("--with", "placed=nowhere"), "found no such folder"),
        (("--no-copy-paste",), "--with: expected a data set to prove"),
        (("--workers", 0), "--workers: expected 1 or more"),
        (("--device", "tpu"), "--device: expected cpu or cuda"),
    ],
)
def test_mistakes_are_refused_before_any_work(
    run: Run, product: Path, tmp_path: Path, words: tuple[object, ...], said: str
) -> None:
    ended = proved(run, product, tmp_path / "proof", *words)
    assert ended.code == 2
    assert said in ended.err.replace("\n", " ")
    assert not (tmp_path / "proof").exists()


def test_a_folder_of_other_files_is_refused(run: Run, product: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    ended = proved(run, product, tmp_path)
    assert ended.code == 2
    assert "expected an empty folder or a proof" in ended.err
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_all_pairs_that_train_leave_nothing_to_test_on(run: Run, product: Path, tmp_path: Path) -> None:
    ended = proved(run, product, tmp_path / "proof", "--shots", 9)
    assert ended.code == 2
    assert "train on fewer with --shots" in ended.err.replace("\n", " ")
