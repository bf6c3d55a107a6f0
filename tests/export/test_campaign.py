"""Campaigns: many products by one plan, what they cost, and what becomes of one that fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seas_export.campaign.estimate import WATTS, estimate
from seas_export.campaign.plan import Part, Plan, counts, read_plan
from seas_runtime.errors import UserError
from tests.export.commands import Run
from tests.runtime.bundles import write_tiny_bundle
from tests.runtime.datasets import snapshot

PLAN = """
out: {out}
threads: 1
batch: 3
seed: 3
{more}
parts:
  - bundle: plate
    count: 5
  - name: cups
    bundle: cup
    defects: stain
    count: 4
    seed: 7
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two bundles, of the products bottle and cup."""
    write_tiny_bundle(tmp_path / "plate")
    write_tiny_bundle(tmp_path / "cup", product="cup")
    return tmp_path


def write_plan(folder: Path, out: object, more: str = "") -> Path:
    (folder / "plan.yaml").write_text(PLAN.format(out=out, more=more))
    return folder / "plan.yaml"


def test_a_campaign_is_the_data_sets_of_its_parts(run: Run, folder: Path) -> None:
    ended = run("campaign", write_plan(folder, folder / "out"), "--json")
    assert ended.code == 0, ended.err
    assert "19 pairs; hours: not measured here" in " ".join(ended.err.split())
    assert [(part["name"], part["pairs"]) for part in ended.json["parts"]] == [("plate", 15), ("cups", 4)]
    words = ("--threads", 1, "--batch", 3, "--count")
    run("generate", folder / "plate", "--defect", "all", "--seed", 3, *words, 5, "--out", folder / "a")
    run("generate", folder / "cup", "--defect", "stain", "--seed", 7, *words, 4, "--out", folder / "b")
    assert snapshot(folder / "out/plate") == snapshot(folder / "a")
    assert snapshot(folder / "out/cups") == snapshot(folder / "b")
    told = json.loads((folder / "out/campaign.json").read_text())
    assert [part["product"] for part in told["parts"]] == ["bottle", "cup"]
    assert all(part["came_out"]["failed"] is None for part in told["parts"])
    again = run("campaign", folder / "plan.yaml", "--json")
    assert [part["continued"] for part in again.json["parts"]] == [15, 4]


def test_into_a_store(run: Run, folder: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[remote]'")
    plan = write_plan(folder, f"file://{folder}/store", "shard_pairs: 6")
    assert run("campaign", plan).code == 0
    ended = run("campaign", plan, "--estimate", "--json")
    assert (ended.json["pairs"], ended.json["left"]) == (19, 0)
    assert run("merge", f"file://{folder}/store/cups", "--out", folder / "merged").code == 0
    assert (folder / "store/campaign.json").is_file()


def test_a_part_that_fails_does_not_stop_the_others(run: Run, folder: Path) -> None:
    (folder / "out/plate").mkdir(parents=True)
    (folder / "out/plate/notes.txt").write_text("mine")
    ended = run("campaign", write_plan(folder, folder / "out"))
    assert ended.code == 1
    assert "1 of 2 parts ended early: plate" in " ".join(ended.err.split())
    assert (folder / "out/cups/dataset.json").is_file()
    told = json.loads((folder / "out/campaign.json").read_text())
    assert "found other files" in told["parts"][0]["came_out"]["failed"]
    assert (folder / "out/plate/notes.txt").read_text() == "mine"


def test_the_estimate_makes_nothing(run: Run, folder: Path) -> None:
    more = "seconds_per_pair: 0.144\nworkers: 2\nboard: H200"
    ended = run("campaign", write_plan(folder, folder / "out", more), "--estimate", "--json")
    assert ended.json["hours"] == pytest.approx(19 * 0.144 / 2 / 3600)
    assert ended.json["kwh"] == pytest.approx(19 * 0.144 * WATTS["H200"][0] / 3.6e6)
    assert not (folder / "out").exists()


def test_what_is_there_measures_the_rest(run: Run, folder: Path) -> None:
    run("campaign", write_plan(folder, folder / "out"))
    ended = run("campaign", write_plan(folder, folder / "out", "watts: 10"), "--estimate", "--json")
    assert ended.json["seconds_per_pair"] > 0
    assert (ended.json["hours"], ended.json["kwh"]) == (0, 0)
    assert ended.json["source"] == "measured by the pairs that are there"


def test_pairs_are_shared_out() -> None:
    plan = Plan(out="x", pairs=1000, parts=(Part("a", share=3), Part("b"), Part("c", count=7)))
    assert counts(plan, {"a": 3, "b": 4, "c": 2}) == {"a": 250, "b": 63, "c": 7}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("count: 5", "count: 0", "parts[0].count: expected 1 to 1000000"),
        ("count: 5", "", "expected `count`, pairs of each defect, or `pairs`"),
        (
            "count: 5",
            "count: 5\n    target: prove",
            "parts[0].target: expected keys and values",
        ),
        ("count: 5", "count: 5\n    target: {gain: 0.1}", "product: photographs/bottle"),
        ("count: 5", "count: 5\n    target: {product: none}", "plate: target.product: expected a folder"),
        ("count: 5", "count: 5\n    target: {product: none, gain: 2}", "gain: expected a share in 0..1"),
        ("seed: 3", "target: prove", "unknown option 'target'"),
        ("name: cups", "name: plate", "plate is there twice"),
        ("name: cups", "name: a/b", "expected a name usable as a folder"),
        ("bundle: plate", "bundel: plate", "did you mean 'bundle'"),
        ("bundle: plate", "bundle: none", "expected a bundle's folder, found nothing"),
        ("defects: stain", "defects: scratch", "the bundle does not have it"),
        ("seed: 3", "ray: auto", "expected a URL that every machine reaches"),
        ("seed: 3", "board: GPU", "expected one of Jetson"),
    ],
)
def test_plans_that_cannot_be(run: Run, folder: Path, old: str, new: str, words: str) -> None:
    plan = write_plan(folder, folder / "out")
    text = plan.read_text()
    assert old in text
    plan.write_text(text.replace(old, new, 1))
    ended = run("campaign", plan)
    assert ended.code == 2
    assert words in " ".join(ended.err.split())
    assert not (folder / "out").exists()


def test_a_plan_without_parts(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("out: x\nparts: []\n")
    with pytest.raises(UserError, match="parts: expected a list of one part or more"):
        read_plan(tmp_path / "plan.yaml")


def test_an_estimate_in_words() -> None:
    plan = Plan(out="x", seconds_per_pair=0.144, watts=700)
    assert estimate(plan, 1000, 250, 1).in_words() == (
        "1000 pairs, 250 of them missing yet; "
        "0.01 hours at 0.144 s a pair (of the plan) on 1 device; 0.01 kWh"
    )
