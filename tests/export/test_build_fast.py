"""`build --fast`: a student beside the model, and pairs by it where it is as good."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_export.config.build import BuildConfig, load_config
from seas_export.pipeline.ledger import Ledger
from seas_export.pipeline.parts import fast
from seas_export.pipeline.parts.model import Model
from seas_export.quality.pairs import Made, Quality, Seen
from seas_export.verdict import Figures, State, Verdict
from seas_export.verdict.files import write_verdicts
from seas_runtime.errors import UserError
from tests.export.commands import Run

NO_FIGURES = Figures(None, None, None)
TEACHER = Quality(pairs=8, first_try=0.9, accepted=1.0, score=0.6, spread=40.0, seconds=2.0)
STUDENT = replace(TEACHER, seconds=0.4)


def made(quality: Quality, agreed: bool = True) -> Made:
    """Pairs of a quality, of one mask; `agreed` with those of all."""
    mask = np.zeros((8, 8), bool)
    mask[: 4 if agreed else 2] = True
    return Made(quality, {("spot", 0): Seen(True, np.zeros((8, 8, 3), np.uint8), mask)})


class Compared:
    """The part of a build that compares, with figures that were measured elsewhere."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.teacher, self.student = Model(root), Model(root / "fast", "distill", " of the student")
        self.found = {"teacher": made(TEACHER), "student": made(STUDENT), "one mask": made(STUDENT)}
        self.ious = {"teacher": 0.5, "student": 0.49}
        self.states = {"teacher": State.DOUBTFUL, "student": State.USABLE}
        self.measured: list[str] = []
        monkeypatch.setattr(fast, "_pairs", self.pairs)

    def pairs(self, config: BuildConfig, model: Model, mask_steps: int | None, say: object) -> Made:
        who = "one mask" if mask_steps == 1 else "student" if model == self.student else "teacher"
        self.measured.append(who)
        return self.found[who]

    def run(self, **options: Any) -> dict[str, Any]:
        ledger = Ledger.open(self.teacher.folder, "plate", force=False, say=lambda text: None)
        for name, model in (("teacher", self.teacher), ("student", self.student)):
            model.folder.mkdir(parents=True, exist_ok=True)
            scores = {"defects": {"spot": {"iou": self.ious[name]}}}
            model.scores.write_text(json.dumps(scores))
            model.bundle.mkdir(exist_ok=True)
            write_verdicts(model.verdict, [Verdict("spot", self.states[name], (), (), NO_FIGURES)])
            for part, path in (
                ("evaluate", model.scores),
                ("export", model.bundle),
                ("verdict", model.verdict),
            ):
                ledger.part(model.part(part), {}, path, lambda before: None)
        config = load_config(None, {"product": "plate", **options})
        return fast.compare(ledger, config, self.teacher, self.student, lambda text: None)


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compared:
    return Compared(tmp_path, monkeypatch)


def test_a_student_that_is_as_good_makes_the_pairs(compared: Compared) -> None:
    found = compared.run()
    assert (found["taken"], found["mask_steps"]) == (fast.STUDENT, None)
    assert found["times faster"] == pytest.approx(5)
    assert "5.0 times as fast" in found["words"]
    assert all(check["passed"] for check in found["student's checks"])
    assert compared.measured == ["teacher", "student"]
    compared.run()
    assert compared.measured == ["teacher", "student"]  # kept
    compared.run(generate={"strength": 0.5})
    assert len(compared.measured) == 4


@pytest.mark.parametrize(
    ("worse", "iou", "named"),
    [
        ({"first_try": 0.8}, 0.5, "passed at the first try"),
        ({"spread": 30.0}, 0.5, "spread"),
        ({"score": 0.5}, 0.5, "score"),
        ({"score": None}, 0.5, "score"),
        ({}, 0.46, "IoU of masks"),
    ],
)
def test_one_that_is_worse_in_any_figure_does_not(
    compared: Compared, worse: dict[str, Any], iou: float, named: str
) -> None:
    compared.found["student"] = made(replace(STUDENT, **worse))
    compared.ious["student"] = iou
    found = compared.run()
    assert (found["taken"], found["mask_steps"]) == (fast.ONE_MASK, 1)
    assert named in found["words"]
    assert [check["name"] for check in found["student's checks"] if not check["passed"]] == [
        next(check["name"] for check in found["student's checks"] if check["name"].startswith(named))
    ]


def test_a_student_that_costs_a_defect_does_not(compared: Compared) -> None:
    compared.states = {"teacher": State.USABLE, "student": State.NOT_USABLE}
    found = compared.run()
    assert found["taken"] == fast.ONE_MASK
    assert "verdict of spot 0 (teacher 2, expected 2 or more)" in found["words"]


def test_a_number_of_masks_that_was_asked_for_stays(compared: Compared) -> None:
    compared.found["student"] = made(replace(STUDENT, spread=0.0))
    found = compared.run(generate={"mask_steps": 2})
    assert (found["taken"], found["mask_steps"]) == (fast.NOTHING, 2)
    assert compared.measured == ["teacher", "student"]


def test_a_files_options_of_the_student_stay_beside_the_command_lines(tmp_path: Path) -> None:
    file = tmp_path / "build.yaml"
    file.write_text("product: plate\nfast: {run: true, distill: {mask_head: {steps: 5}}}\n")
    config = load_config(file, {"fast": {"distill": {"student_steps": 2}}})
    assert config.fast.run
    assert config.fast.distill == {"mask_head": {"steps": 5}, "student_steps": 2}


def test_one_mask_is_taken_only_where_it_changes_little(compared: Compared) -> None:
    compared.found["student"] = made(replace(STUDENT, spread=0.0))
    compared.found["one mask"] = made(STUDENT, agreed=False)
    found = compared.run()
    assert (found["taken"], found["mask_steps"], found["times faster"]) == (fast.NOTHING, None, 1)
    assert "as without --fast" in found["words"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "anogen"}, "--fast: method anogen leaves its base as it is"),
        ({"generate": {"guidance": 3.0}}, "--guidance out"),
        ({"generate": {"negative_prompt": "dust"}}, "generate.negative_prompt is of steps with guidance"),
        ({"generate": {"guidance_rescale": 0.5}}, "generate.guidance_rescale is of steps with guidance"),
        ({"fast": {"run": True, "distill": {"student_step": 2}}}, "student_step"),
    ],
)
def test_what_a_student_cannot_have_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        fast.check_fast(load_config(None, {"product": "plate", "fast": {"run": True}, **options}))
    with pytest.raises(UserError, match=r"fast\.distill\.seed"):
        load_config(None, {"product": "plate", "fast": {"distill": {"seed": 1}}})


def test_a_build_with_a_student_beside_it(run: Run, tmp_path: Path, toy_product: Path) -> None:
    """Photographs to pairs of a student, and again with all of it kept."""
    from tests.bases import write_tiny_base

    base, out = write_tiny_base(tmp_path / "base"), tmp_path / "out"
    head = "mask_head.steps=1"
    words = ["build", "--product", "plate", "--data", toy_product.parent, "--base", base, "--out", out]
    words += ["--fast", "--keep", "--no-gate", "--steps", 4, "--pairs", 1, "--threads", 1, "--backend", "cpu"]
    for option in ("train.finetune.steps=1", f"train.{head}", "fast.distill.distill.steps=1"):
        words += ["--set", option]
    words += ["--set", f"fast.distill.{head}", "--set", "fast.pairs=2", "--set", "evaluate.pairs=1"]
    ended = run(*words)
    assert ended.code == 0, ended.err
    found = json.loads((out / "fast/fast.json").read_text())
    record = json.loads((out / "build.json").read_text())
    by = "fast" if found["taken"] == fast.STUDENT else "."
    assert record["pairs_by"] == by
    assert found["words"] in ended.err
    bundle = out / by / "bundle"
    made = [json.loads(line) for line in (out / "dataset/records.jsonl").read_text().splitlines()]
    told = run("inspect", out / "fast/bundle", "--json").json
    assert told["sampler"]["name"] == "lcm"
    assert {line["bundle"] for line in made} == {run("inspect", bundle, "--json").json["fingerprint"]}
    again = run(*words)
    assert again.code == 0, again.err
    assert "distill: current, kept" in again.err
    assert "compare of the student: current, kept" in again.err
    assert "making again" not in again.err
