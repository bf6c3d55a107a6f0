"""A part with a target: pairs grow in steps, and end where `prove` finds that the last gained too little."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from seas_export.campaign import running
from seas_export.campaign.target import Asked, Step
from seas_runtime.errors import CheckFailed
from tests.export.commands import Run
from tests.products import DEFECTS, write_tiny_product
from tests.runtime import bundles
from tests.runtime.bundles import write_tiny_bundle
from tests.runtime.datasets import snapshot

PLAN = """
out: {out}
threads: 1
batch: 4
parts:
  - bundle: plate
    defects: [stain, broken_large]
    count: {count}
    target: {{product: photographs, gain: {gain}, first: 2, segmenter: small, steps: 2, seeds: 1}}
  - name: other
    bundle: plate
    defects: stain
    count: 3
"""

needs_sklearn = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed"
)
pytestmark = needs_sklearn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a bundle and photographs of its product."""
    write_tiny_bundle(tmp_path / "plate")
    product = write_tiny_product(tmp_path / "photographs")
    for old, new in zip(DEFECTS, bundles.DEFECTS, strict=True):
        for place in ("test", "ground_truth"):
            (product / place / old).rename(product / place / new)
    return tmp_path


def write_plan(folder: Path, *, count: int = 12, gain: float = 0.02, out: object = None) -> Path:
    text = PLAN.format(out=out or folder / "out", count=count, gain=gain)
    (folder / "plan.yaml").write_text(text)
    return folder / "plan.yaml"


class Measured:
    """Stands in for trainings: the IoU of a number of pairs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ious: dict[int, float]) -> None:
        self.ious, self.asked = ious, list[int]()
        self.held = list[int]()
        monkeypatch.setattr(running, "measure", self)

    def __call__(self, asked: Asked, count: int, dataset: Path, out: Path, threads: int | None) -> Step:
        self.asked.append(count)
        records = [json.loads(line) for line in (dataset / "records.jsonl").read_text().splitlines()]
        self.held.append(sum(record["defect"] == "stain" for record in records))
        if count not in self.ious:
            raise CheckFailed("trainings ended early")
        return Step(count, self.ious[count], 0.2, None)


def told(folder: Path) -> dict[str, Any]:
    parts: list[dict[str, Any]] = json.loads((folder / "out/campaign.json").read_text())["parts"]
    return parts[0]


def test_it_ends_where_a_step_gains_too_little(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = Measured(monkeypatch, {2: 0.30, 4: 0.40, 8: 0.41, 12: 0.9})
    ended = run("campaign", write_plan(folder), "--json")
    assert ended.code == 0, ended.err
    assert measured.asked == measured.held == [2, 4, 8]
    part, other = ended.json["parts"]
    assert (part["pairs"], other["pairs"], other["decided"]) == (16, 3, None)
    assert "enough: the step to 8 gained +0.010, under 0.02" in part["decided"]
    assert part["decided"] in " ".join(ended.err.split())
    assert [step["count"] for step in told(folder)["target"]["steps"]] == [2, 4, 8]
    assert (told(folder)["target"]["enough"], told(folder)["count"]) == (8, 8)
    words = ("--defect", "stain", "--defect", "broken_large", "--threads", 1, "--batch", 4, "--count", 8)
    run("generate", folder / "plate", *words, "--out", folder / "alone")
    assert snapshot(folder / "out/plate") == snapshot(folder / "alone")
    again = run("campaign", folder / "plan.yaml", "--json")
    assert again.code == 0
    assert measured.asked == [2, 4, 8]  # what was decided is kept
    assert again.json["estimate"]["left"] == 0
    # A smaller bound asks on, from what is measured.
    assert run("campaign", write_plan(folder, gain=0.005)).code == 0
    assert measured.asked == [2, 4, 8, 12]
    assert "all 12 pairs were made" in told(folder)["target"]["decided"]


def test_it_goes_on_where_it_was_stopped(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch, {2: 0.30})
    ended = run("campaign", write_plan(folder))
    assert ended.code == 1
    assert "trainings ended early" in told(folder)["came_out"]["failed"]
    assert [step["count"] for step in told(folder)["target"]["steps"]] == [2]
    assert (folder / "out/other/dataset.json").is_file()
    measured.ious |= {4: 0.31}
    measured.asked.clear()
    assert run("campaign", folder / "plan.yaml").code == 0
    assert measured.asked == [4]
    assert told(folder)["target"]["enough"] == 4


def test_other_photographs_are_measured_anew(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all the pairs that are there: none is dropped, and none is called fewer."""
    measured = Measured(monkeypatch, {2: 0.30, 4: 0.31, 8: 0.32})
    assert run("campaign", write_plan(folder)).code == 0
    (folder / "photographs/test/stain/000.png").rename(folder / "photographs/test/stain/zzz.png")
    masks = folder / "photographs/ground_truth/stain"
    (masks / "000_mask.png").rename(masks / "zzz_mask.png")
    assert run("campaign", folder / "plan.yaml").code == 0
    assert measured.asked == measured.held == [2, 4, 4, 8]


def test_pairs_that_are_there_are_measured_once(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though several steps are of fewer: two figures of the same pairs would say that they are enough."""
    measured = Measured(monkeypatch, {2: 0.30, 4: 0.40, 8: 0.50, 12: 0.51})
    assert run("campaign", write_plan(folder)).code == 0
    assert measured.asked == [2, 4, 8, 12]
    measured.asked.clear()
    (folder / "photographs/test/stain/000.png").rename(folder / "photographs/test/stain/zzz.png")
    masks = folder / "photographs/ground_truth/stain"
    (masks / "000_mask.png").rename(masks / "zzz_mask.png")
    assert run("campaign", folder / "plan.yaml").code == 0
    assert measured.asked == [12]
    assert told(folder)["target"]["enough"] is None


def test_real_proofs_decide(run: Run, folder: Path) -> None:
    """Trainings of two steps each; real ones are not done again for the second step."""
    ended = run("campaign", write_plan(folder, count=4, gain=1), "--json")
    assert ended.code == 0, ended.err
    first, second = told(folder)["target"]["steps"]
    assert (first["count"], second["count"]) == (2, 4)
    assert first["real"] == second["real"]
    assert 0 <= first["iou"] <= 1
    assert told(folder)["target"]["enough"] == 4
    proof = json.loads((folder / "out/proofs/plate/proof.json").read_text())
    assert proof["sets"]["generated"]["pairs"] > 0
    assert len(list((folder / "out/proofs/plate/trainings").iterdir())) == 3


def test_what_a_target_needs(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(plan: Path) -> str:
        ended = run("campaign", plan)
        assert ended.code == 2
        assert not (folder / "out").exists()
        return " ".join(ended.err.split())

    assert "out is a URL; give a folder" in said(write_plan(folder, out=f"file://{folder}/out"))
    plan = write_plan(folder)
    text = plan.read_text()
    plan.write_text(text.replace("name: other", "name: proofs"))
    assert "choose another name" in said(plan)
    plan.write_text(text.replace("[stain, broken_large]", "good"))
    assert "expected photographs of good, found those of broken_large, stain" in said(plan)
    plan.write_text(text)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    assert "plate: target: needs scikit-learn" in said(plan)
