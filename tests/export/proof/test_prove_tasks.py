"""Naming defects and telling images apart: figures by hand, and the commands."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seas_export.proof.measures.classes import Named, class_figures, compare_named
from seas_export.proof.measures.images import Scored, compare_scored, resampled
from seas_export.proof.request import ProofOptions
from seas_export.proof.sets.arms import DRAWN
from seas_export.proof.sets.named import NamedSet
from seas_export.proof.tasks.contract import Given
from seas_export.proof.tasks.remembering import ALL, Remembering
from seas_runtime.errors import UserError
from seas_train.data import PhotographsConfig
from seas_train.proof.pictures import Sample
from tests.export.commands import Run
from tests.export.proof.test_prove_command import proved
from tests.products import write_tiny_product

metrics: Any = pytest.importorskip("sklearn.metrics", reason="the extra `prove` is not installed")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_product(tmp_path_factory.mktemp("tasks") / "plate", pairs=9, normals=8)


def named(said: list[str], shown: list[str]) -> Named:
    names = np.array(["blot", "dent", "stripe"])
    return Named(
        np.eye(3, dtype=np.float32)[[list(names).index(one) for one in said]], names, np.array(shown)
    )


def test_accuracy_is_of_photographs_and_balanced_of_defects() -> None:
    found = named(["blot", "blot", "blot", "dent"], ["blot", "blot", "blot", "stripe"])
    assert class_figures(found) == {"accuracy": 0.75, "balanced": 0.5}
    again = Named.from_arrays(found.arrays())
    assert again.said.tolist() == ["blot", "blot", "blot", "dent"]
    with pytest.raises(ValueError, match="not a probability of each name"):
        Named.from_arrays({**found.arrays(), "shown": np.array(["blot"])})


def test_a_classifier_that_is_right_is_better_than_one_that_is_not() -> None:
    shown = ["blot", "dent", "stripe"] * 8
    right, wrong = named(shown, shown), named(shown[1:] + shown[:1], shown)
    assert [one.verdict for one in compare_named([right], [wrong], shown)] == ["better"]
    assert [one.verdict for one in compare_named([right], [right], shown)] == ["no difference shown"]


def test_resampled_image_figures_are_scikit_learns() -> None:
    """With ties among the scores, and photographs that are drawn several times or never."""
    random = np.random.default_rng(0)
    scored = Scored(np.round(random.normal(size=30), 1), random.random(30) > 0.6)
    weights = random.integers(0, 4, (5, 30)).astype(float)
    for figure, function in (
        ("image_auroc", metrics.roc_auc_score),
        ("image_ap", metrics.average_precision_score),
    ):
        expected = [function(scored.defective, scored.scores, sample_weight=row) for row in weights]
        assert resampled(figure, scored, weights) == pytest.approx(expected, abs=1e-9)
        assert scored.figures()[figure] == pytest.approx(function(scored.defective, scored.scores))


def test_scores_that_tell_defects_are_better_than_chance() -> None:
    random = np.random.default_rng(1)
    defective = np.arange(40) < 20
    groups = ["blot"] * 20 + ["good"] * 20
    good, chance = (Scored(random.normal(size=40) + gain * defective, defective) for gain in (3, 0))
    assert {one.verdict for one in compare_scored([good], [chance], groups)} == {"better"}


def given(*, normals: int, generated: int) -> Given:
    real, made = (
        tuple(Sample(Path(f"{where}/{index}.png")) for index in range(count))
        for where, count in (("real", normals), ("made", generated))
    )
    pair = Sample(Path("pair.png"), Path("mask.png"), "blot")
    return Given((pair,), real, None, [NamedSet("ours", Path("out"), (pair,), made)])


def test_few_real_normals_are_drawn_anew_for_each_seed() -> None:
    task, options = Remembering(), ProofOptions(few=3)
    arms = [task.arms(given(normals=20, generated=4), options, seed) for seed in (0, 1)]
    assert [arm.name for arm in arms[0]] == ["real", ALL, "real + ours", "ours alone"]
    for of_seed in arms:
        real, everything, both, alone = (arm.sources for arm in of_seed)
        assert len(set(real.real_normals)) == 3
        assert both.real_normals == real.real_normals
        assert (len(both.made_normals), len(alone.made_normals)) == (4, 4)
        assert not alone.real_normals
        assert len(everything.real_normals) == 20
    assert arms[0][0].sources.real_normals != arms[1][0].sources.real_normals
    with pytest.raises(UserError, match=r"--images expects normals in the data set, found none"):
        task.arms(given(normals=20, generated=0), options, 0)


def test_defects_are_named(run: Run, product: Path, tmp_path: Path) -> None:
    """Spots and lines are told apart after a few steps; the table says which is taken for which."""
    out = tmp_path / "proof"
    words = ("--task", "classify", "--steps", 16, "--batch", 8, "--side", 32, "--no-copy-paste")
    torch.set_num_threads(1)
    ended = proved(run, product, out, *words, "--with", f"ours={product}")
    assert ended.code == 0, ended.err
    result = json.loads((out / "proof.json").read_text())
    assert result["task"] == "classify"
    assert set(result["figures"]) == {"real", "real + ours", "ours alone"}
    assert set(result["figures"]["real"]) == {"pooled", "dark_line", "spot"}
    assert result["figures"]["ours alone"]["pooled"]["accuracy"]["mean"] > 0.8
    table = result["confusion"]["ours alone"]
    assert table["names"] == ["dark_line", "spot"]
    counts = np.array(table["counts"])
    assert counts.sum() == result["tested on"]["pairs"] == 6
    assert np.trace(counts) / 6 == pytest.approx(
        result["figures"]["ours alone"]["pooled"]["accuracy"]["mean"]
    )
    page = (out / "proof.md").read_text()
    assert "## What ours alone names, all seeds" in page
    assert (
        "| shown \\\\ named | dark_line | spot |" in page or "| shown \\ named | dark_line | spot |" in page
    )
    assert not (out / "proof.png").exists()
    again = proved(run, product, out, *words, "--with", f"ours={product}", "--json")
    assert again.json["seconds"]["trainings"] == 0
    assert again.json["figures"] == result["figures"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--task", "paint"), "expected segment | classify | images"),
        (("--task", "classify", "--images"), "expected no other --task beside it"),
        (("--task", "classify", "--classifier", "vgg"), "expected one of resnet-small"),
        (("--task", "classify", "--side", 8), "side: expected 32 to 1024"),
        (("--images",), "expected a data set with normals"),
        (("--real-normals", 0), "few: expected 1 or more"),
        (("--textures", "."), "expected a segmenter that draws anomalies"),
    ],
)
def test_mistakes_are_refused(
    run: Run, product: Path, tmp_path: Path, words: tuple[object, ...], said: str
) -> None:
    ended = proved(run, product, tmp_path / "proof", *words)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert not (tmp_path / "proof").exists()


def test_a_single_defect_has_nothing_to_be_told_from(run: Run, product: Path, tmp_path: Path) -> None:
    ended = proved(run, product, tmp_path / "proof", "--task", "classify", "--defect", "Spot")
    assert ended.code == 2
    assert "expected photographs of two defects or more" in " ".join(ended.err.split())


def test_draem_is_also_trained_on_its_own_anomalies_alone(run: Run, product: Path, tmp_path: Path) -> None:
    ended = proved(run, product, tmp_path / "proof", "--segmenter", "draem-narrow", "--json")
    assert ended.code == 0, ended.err
    assert list(ended.json["figures"]) == ["real", DRAWN, "real + copy-paste"]
    assert ended.json["comparisons"][0]["against"] == DRAWN
    assert any("the product's own photographs, shuffled" in note for note in ended.json["notes"])


def test_boxes_are_said_to_be_boxes(run: Run, product: Path, tmp_path: Path) -> None:
    from seas_export.proof.sets.named import read_named
    from seas_train.data import load_product

    weak = {f"ground_truth/Spot/{index:03d}_mask.png": "box" for index in range(2)}
    theirs = write_tiny_product(tmp_path / "boxes", pairs=4, normals=2)
    (theirs / "weak.json").write_text(json.dumps({"schema": 1, "weak": weak}))
    found = read_named("boxes", theirs, load_product(product, PhotographsConfig(), size=64), 1.0, ())
    assert [pair.image.name for pair in found.pairs if pair.weak] == ["000.png", "001.png"]
    assert any("2 of its masks are boxes" in warning for warning in found.warnings)
    first = next(pair for pair in found.pairs if pair.weak)
    from dataclasses import replace

    assert first.content() != replace(first, weak=False).content()


def test_normals_alone_do_where_images_are_told_apart(
    run: Run, product: Path, toy_bundle: Path, toy_product: Path, tmp_path: Path
) -> None:
    from seas_export.proof.sets.named import read_named
    from seas_train.data import load_product

    others, ours = tmp_path / "others", tmp_path / "ours"
    shutil.copytree(toy_product / "train", others / "train")
    words = ("--defect", "good", "--count", 2, "--no-gate", "--backend", "cpu", "--out", ours)
    assert run("generate", toy_bundle, *words).code == 0
    for folder, said in ((others, "expected at least one defect"), (ours, "found no pairs")):
        found = read_named("n", folder, load_product(product, size=64), 1.0, (), normals_do=True)
        assert not found.pairs
        assert len(found.normals) == len(list((folder / "train" / "good").iterdir()))
        ended = proved(run, product, tmp_path / "proof", "--with", f"n={folder}")
        assert ended.code == 2
        assert said in " ".join(ended.err.split())


def test_images_are_told_apart_with_the_encoder(run: Run, product: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("timm") is None:  # it cannot be imported before `vision_ops`
        pytest.skip("the extra `prove` is not installed")
    words = ("--images", "--real-normals", 2, "--with", f"ours={product}", "--scale", 1)
    ended = proved(run, product, tmp_path / "proof", *words, "--json")
    assert ended.code == 0, ended.err
    assert list(ended.json["figures"]) == ["real", ALL, "real + ours", "ours alone"]
    assert ended.json["figures"][ALL]["pooled"]["image_auroc"]["mean"] > 0.7
    assert ended.json["remembered"][ALL] > ended.json["remembered"]["real"]
