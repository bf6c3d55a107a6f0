"""`distill` and `export --sampler` as commands: what they refuse, and what they make end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.export.commands import Run


def test_it_needs_a_folder_to_write(run: Run, checkpoint_folder: Path, toy_product: Path) -> None:
    ended = run("distill", checkpoint_folder, toy_product)
    assert ended.code == 2
    assert "--out: expected the checkpoint's folder, found none" in ended.err


def test_photographs_of_another_training_are_refused(
    run: Run, checkpoint_folder: Path, toy_product: Path, tmp_path: Path
) -> None:
    ended = run("distill", checkpoint_folder, toy_product, "--out", tmp_path / "student")
    assert ended.code == 2
    assert "expected the photographs of its training (000000000000), found others" in ended.err
    assert not (tmp_path / "student").exists()


def test_it_refuses_to_write_over_its_teacher(run: Run, checkpoint_folder: Path, toy_product: Path) -> None:
    ended = run("distill", checkpoint_folder, toy_product, "--out", checkpoint_folder, "--force")
    assert ended.code == 2
    assert "--out" in ended.err
    assert (checkpoint_folder / "seas.json").is_file()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.methods.trained import train_tiny

    folder = tmp_path_factory.mktemp("trained")
    head = {"steps": 1, "coarse_width": 8, "fine_width": 4, "heads": 2, "groups": 3, "depth": 1}
    options = {"finetune": {"steps": 1, "normal_augmentations": 1}, "mask_head": head}
    train_tiny(folder, "seas", options, pairs=6)
    return folder


def test_photographs_to_pairs_of_a_student(run: Run, trained: Path, tmp_path: Path) -> None:
    """Distilled, exported with parity, and generated from, by the commands alone."""
    teacher, plate, student = trained / "checkpoint", trained / "plate", tmp_path / "student"
    words = ("distill", teacher, plate, "--out", student, "--steps", 2, "--set", "distill.steps=2")
    planned = run(*words, "--dry-run", "--json")
    assert planned.code == 0, planned.err
    estimate = json.loads(planned.out)
    assert estimate["stage"] == "distillation"
    assert estimate["host_parts"]["the teacher"] > 0
    assert not student.exists()
    made = run(*words, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["checkpoint"] == str(student)
    again = run(*words)
    assert again.code == 2
    assert "continue with --resume" in again.err
    bundle, data = tmp_path / "bundle", tmp_path / "data"
    exported = run("export", student, "--out", bundle)
    assert exported.code == 0, exported.err
    told = run("inspect", bundle, "--json")
    assert json.loads(told.out)["sampler"]["name"] == "lcm"
    asked = (
        "generate",
        bundle,
        "--defect",
        "all",
        "--count",
        1,
        "--out",
        data,
        "--no-gate",
        "--from",
        "noise",
    )
    ended = run(*asked, "--mask-steps", 2)
    assert ended.code == 0, ended.err
    records = [json.loads(line) for line in (data / "records.jsonl").read_text().splitlines()]
    assert {(record["sampler"], record["steps"], record["guidance"]) for record in records} == {("lcm", 2, 1)}
    assert all(record["options"] == {"mask_steps": 2} for record in records)
    refused = run(*asked, "--mask-steps", 3, "--force")
    assert refused.code == 2
    assert "mask_steps: expected at most 2, as many as a pair's steps here, found 3" in refused.err


def test_a_student_learns_on_what_its_teacher_made(run: Run, trained: Path, tmp_path: Path) -> None:
    teacher, plate, bundle, data = (
        trained / "checkpoint",
        trained / "plate",
        tmp_path / "bundle",
        tmp_path / "data",
    )
    assert run("export", teacher, "--no-parity", "--out", bundle).code == 0
    asked = ("generate", bundle, "--defect", "all", "--defect", "good", "--count", 2, "--no-gate")
    made = run(*asked, "--from", "noise", "--out", data)
    assert made.code == 0, made.err
    words = ("distill", teacher, plate, "--steps", 2, "--set", "distill.steps=2", "--generated", data)
    ended = run(*words, "--out", tmp_path / "student")
    assert ended.code == 0, ended.err
    said = json.loads((tmp_path / "student" / "seas.json").read_text())["teacher"]["generated"]
    assert said["pictures"] > 2
    assert said["share"] == 0.5

    placed = tmp_path / "placed"
    assert run(*asked, "--out", placed).code == 0
    refused = run(*words[:-1], placed, "--out", tmp_path / "other")
    assert refused.code == 2
    assert "expected whole pictures, found defects drawn into photographs" in refused.err
    description = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps({**description, "product": "bracket"}))
    refused = run(*words, "--out", tmp_path / "other")
    assert refused.code == 2
    assert "expected pictures of plate, found bracket" in refused.err
    refused = run(*words[:-1], tmp_path / "nothing", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "found no such folder" in refused.err
    assert not (tmp_path / "other").exists()
