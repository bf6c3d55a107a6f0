"""`convert` and `data import` as commands: reports, exit codes, and what `data inspect` says before."""

from __future__ import annotations

import json
from pathlib import Path

from tests.export.commands import Run
from tests.runtime.finished_sets import write_finished
from tests.train.data.label_sets import CVAT_SHAPES, cvat, photographs


def test_a_data_set_is_converted_and_what_was_done_is_said(run: Run, tmp_path: Path) -> None:
    write_finished(tmp_path / "set", rejected=[("dent", 1)], weak=[("dent", 2)])
    ended = run("convert", tmp_path / "set", "--to", "coco", "--out", tmp_path / "out", "--json")
    assert ended.code == 0
    assert ended.json["classes"]["dent"] == {"train": 3, "val": 1, "weak": 1}
    assert (ended.json["linked"], ended.json["copied"]) == (14, 0)
    ended = run("convert", tmp_path / "set", "--to", "coco", "--out", tmp_path / "out", "--force", "--copy")
    assert ended.code == 0
    assert "0 files linked, 14 copied; left out: 1 rejected" in " ".join(ended.out.split())
    ended = run("convert", tmp_path / "set", "--to", "voc", "--out", tmp_path / "other")
    assert ended.code == 2
    assert "--to: expected one of mvtec, coco, yolo-seg" in ended.err
    assert not (tmp_path / "other").exists()


def test_generate_converts_beside_the_data_set(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    words = ("generate", toy_bundle, "--defect", "stain", "--count", "4", "--no-gate", "--threads", "1")
    words = (*words, "--out", tmp_path / "set", "--format", "coco", "--json")
    ended = run(*words)
    assert ended.code == 0, ended.err
    assert ended.json["converted"]["path"] == str(tmp_path / "set-coco")
    first = (tmp_path / "set-coco/about.json").read_bytes()
    assert list((tmp_path / "set-coco/annotations").glob("instances_*.json"))
    again = run(*words)
    assert again.json["continued"] == 4
    assert (tmp_path / "set-coco/about.json").read_bytes() == first
    plain = run("generate", toy_bundle, "--defect", "stain", "--count", "1", "--out", tmp_path / "plain")
    assert plain.code == 0
    assert not list(tmp_path.glob("plain-*"))


def test_generate_refuses_a_format_before_the_work(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    words = ("generate", toy_bundle, "--defect", "stain", "--out", tmp_path / "set", "--format")
    ended = run(*words, "yolo")
    assert ended.code == 2
    assert "--format: expected one of mvtec, coco, yolo-seg" in ended.err
    (tmp_path / "set-coco").mkdir()
    (tmp_path / "set-coco/mine.txt").write_text("notes")
    ended = run(*words, "coco")
    assert ended.code == 2
    assert "--format" in ended.err
    assert "mine.txt" in ended.err
    assert not (tmp_path / "set").exists()


def test_inspect_names_the_import_and_the_import_names_inspect(run: Run, tmp_path: Path) -> None:
    src = tmp_path / "from cvat"
    images = photographs(src / "images", 3)
    shapes = [CVAT_SHAPES["box"], CVAT_SHAPES["mask"], ""]
    cvat(src, {image.name: shape for image, shape in zip(images, shapes, strict=True)})
    refused = run("data", "inspect", src)
    assert refused.code == 2
    assert f"seas-export data import '{src}' --product NAME --out photos" in refused.err
    ended = run("data", "import", src, "--product", "part", "--out", tmp_path / "photos")
    assert ended.code == 0
    assert f"Next: seas-export data inspect {tmp_path / 'photos/part'}" in ended.out
    assert "Pictures are unchanged: 3 linked, 0 copied." in ended.out
    inspected = run("data", "inspect", tmp_path / "photos/part", "--size", "64")
    assert inspected.code == 0
    assert "1 masks are boxes around defects" in inspected.out
    again = run("data", "import", src, "--product", "part", "--out", tmp_path / "photos", "--force", "--json")
    assert again.json["weak"] == {"dent": 1}
    kept = json.loads((tmp_path / "photos/part/import.json").read_text())
    assert kept == again.json
    wrong = run("data", "import", src, "--product", "part", "--out", tmp_path / "photos", "--from", "cvatt")
    assert wrong.code == 2
    assert "Did you mean cvat" in wrong.err or "cvat" in wrong.err
