from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from seas_runtime import files
from seas_runtime.dataset.contact_sheet import COLUMNS, GAP, LABEL, TILE, outline_mask
from seas_runtime.dataset.writing import DatasetRequest, DatasetSummary, write_dataset
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.photographs.png import encode_picture
from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.datasets import WRITE, dataset_request, read_records, snapshot
from tests.runtime.interpreters import run_python


def write(generator: Generator, out: Path, *defects: str, **options: Any) -> DatasetSummary:
    force, restore = options.pop("force", False), options.pop("restore", False)
    request = dataset_request(defects or ("all",), **{"count": 6, "seed": 3, "batch": 4, **options})
    return write_dataset(generator, request, out, force=force, restore=restore)


def test_layout(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "out", count=12)
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    records = read_records(tmp_path / "out")
    expected = {"records.jsonl", "dataset.json", "contact_sheet.png"}
    for record in records:
        name, number = record["defect"], f"{record['index']:06d}"
        if record["accepted"] and name == "good":
            expected |= {f"train/good/{number}.png"}
        elif record["accepted"]:
            expected |= {f"test/{name}/{number}.png", f"ground_truth/{name}/{number}_mask.png"}
    assert found == expected
    assert [(record["defect"], record["index"]) for record in records] == [
        (defect, index) for defect in ("broken_large", "stain", "good") for index in range(12)
    ]
    assert {record["accepted"] for record in records} == {True, False}


def test_files_are_the_generated_pairs(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "out", "stain", count=6, batch=4, gate=False)
    pairs = list(generator.generate("stain", 6, 3, batch=4, gate=False))
    for pair, record in zip(pairs, read_records(tmp_path / "out"), strict=True):
        expected = json.loads(json.dumps(pair.record.to_dict()))
        assert {**expected, "times": 0, "files": 0} == {**record, "times": 0, "files": 0}
        image = Image.open(tmp_path / "out" / record["files"]["image"])
        mask = Image.open(tmp_path / "out" / record["files"]["mask"])
        assert (image.mode, mask.mode) == ("RGB", "L")
        assert np.array_equal(np.asarray(image), pair.image)
        assert np.array_equal(np.asarray(mask), pair.mask)


def test_rejected_pairs_are_recorded_and_have_no_files(tmp_path: Path) -> None:
    generator = Generator.open(write_tiny_bundle(tmp_path / "bundle", Toy(bias=-60.0)), threads=1)
    summary = write(generator, tmp_path / "out", "stain", count=5)
    assert [record["files"] for record in read_records(tmp_path / "out")] == [None] * 5
    assert all(len(record["attempts"]) == 4 for record in read_records(tmp_path / "out"))
    outcome = summary.defects["stain"]
    assert (outcome.pairs, outcome.accepted, outcome.rejected, outcome.first_try) == (5, 0, 5, 0)
    assert list((tmp_path / "out").rglob("0*.png")) == []
    ungated = write(generator, tmp_path / "ungated", "stain", count=5, gate=False)
    assert ungated.defects["stain"].accepted == 5
    assert len(list((tmp_path / "ungated").rglob("0*.png"))) == 10


def test_summary_counts_the_records(generator: Generator, tmp_path: Path) -> None:
    summary = write(generator, tmp_path / "out", "broken_large", "good", count=20)
    records = [record for record in read_records(tmp_path / "out") if record["defect"] == "broken_large"]
    outcome = summary.defects["broken_large"]
    assert outcome.accepted == sum(record["accepted"] for record in records)
    assert outcome.first_try == sum(record["attempts"][0]["rejected"] is None for record in records)
    assert 0 < outcome.first_try < outcome.accepted < 20
    assert outcome.rejected == 20 - outcome.accepted
    assert summary.defects["good"].first_try == 20
    assert summary.continued == 0
    assert json.loads(json.dumps(summary.to_dict()))["defects"]["good"]["pairs"] == 20


def test_description(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "out", "good", "stain", count=2, steps=3)
    assert json.loads((tmp_path / "out/dataset.json").read_text()) == {
        "schema": 1,
        "product": "bottle",
        "bundle": generator.bundle.fingerprint,
        "backend": "cpu",
        "backend_version": f"onnxruntime {onnxruntime.__version__}",
        "defects": ["stain", "good"],
        "count": 2,
        "seed": 3,
        "batch": 4,
        "sampler": "dpmpp_2m",
        "steps": 3,
        "guidance": 8.0,
        "tau": 0.2,
        "gate": True,
        "licences": ["Apache-2.0"],
    }


def test_progress(generator: Generator, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    request = DatasetRequest(("stain", "good"), 5, batch=4)
    write_dataset(generator, request, tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert seen == [(0, 10), (4, 10), (5, 10), (9, 10), (10, 10)]
    seen.clear()
    write_dataset(generator, request, tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert seen == [(10, 10)]


def test_contact_sheet(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "out", "stain", "good", count=3, gate=False)
    sheet = np.asarray(Image.open(tmp_path / "out/contact_sheet.png"))
    height = GAP + 2 * LABEL + 3 * (TILE + GAP)
    assert sheet.shape == (height, GAP + COLUMNS * (TILE + GAP), 3)
    first = np.asarray(
        Image.open(tmp_path / "out/test/stain/000000.png").resize((TILE, TILE), Image.Resampling.LANCZOS)
    )
    top = GAP + LABEL
    assert np.array_equal(sheet[top : top + TILE, GAP : GAP + TILE], first)
    assert (sheet[top : top + TILE, GAP + 3 * (TILE + GAP) :] == 255).all()


def test_outline() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    drawn = outline_mask(image, mask)
    assert (drawn[~mask] == 100).all()
    assert drawn[10, 10].tolist() == [255, 32, 32]
    assert drawn[15, 15].tolist() == [146, 80, 80]


def test_extending_the_count_gives_an_unbroken_dataset(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "grown", count=6, batch=4)
    summary = write(generator, tmp_path / "grown", count=11, batch=4)
    assert summary.continued == 3 * 6
    write(generator, tmp_path / "whole", count=11, batch=4)
    assert snapshot(tmp_path / "grown") == snapshot(tmp_path / "whole")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("seed", 4, "another seed: expected 4, found 3"),
        ("batch", 3, "another batch: expected 3, found 4"),
        ("guidance", 2.0, r"another guidance: expected 2\.0, found 8\.0"),
        ("tau", 0.3, r"another tau: expected 0\.3, found 0\.2"),
        ("steps", 3, "another steps: expected 3, found 5"),
        ("gate", False, "another gate: expected False, found True"),
    ],
)
def test_another_request_is_refused(
    generator: Generator, tmp_path: Path, option: str, value: Any, message: str
) -> None:
    write(generator, tmp_path / "out", "stain")
    before = snapshot(tmp_path / "out")
    with pytest.raises(UserError, match=f"{message}; choose another folder, or replace .* --force"):
        write(generator, tmp_path / "out", "stain", **{option: value})
    assert snapshot(tmp_path / "out") == before
    write(generator, tmp_path / "out", "stain", **{option: value}, force=True)
    write(generator, tmp_path / "fresh", "stain", **{option: value})
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "fresh")


def test_another_bundle_or_defect_is_refused(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "out", "stain")
    with pytest.raises(UserError, match="another defects"):
        write(generator, tmp_path / "out", "good")
    other = Generator.open(write_tiny_bundle(tmp_path / "bundle", provenance={}), threads=1)
    with pytest.raises(UserError, match="another bundle"):
        write(other, tmp_path / "out", "stain")


def test_a_smaller_count_keeps_all_pairs_and_a_larger_one_continues(
    generator: Generator, tmp_path: Path
) -> None:
    write(generator, tmp_path / "out", "stain", count=8)
    before = snapshot(tmp_path / "out")
    assert write(generator, tmp_path / "out", "stain", count=4).defects["stain"].pairs == 8
    assert snapshot(tmp_path / "out") == before
    assert write(generator, tmp_path / "out", "stain", count=12).continued == 8
    write(generator, tmp_path / "whole", "stain", count=12)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_a_mask_that_was_retouched_in_the_last_batch_stays_when_the_batch_is_filled(
    generator: Generator, tmp_path: Path
) -> None:
    out, image = tmp_path / "out", generator.manifest.image
    write(generator, out, "stain", "good", count=6, batch=4)
    last = max(record["index"] for record in read_records(out) if record["accepted"] and record["files"])
    assert last >= 4  # in the batch that is not full
    retouched = encode_picture(np.full((image.height, image.width), 255, np.uint8))
    (out / f"ground_truth/stain/{last:06d}_mask.png").write_bytes(retouched)
    (out / f"train/good/{last:06d}.png").write_bytes(retouched)
    before = snapshot(out)
    lines = (out / "records.jsonl").read_text().splitlines()
    write(generator, out, "stain", "good", count=8, batch=4)
    after = snapshot(out)
    own = {"records.jsonl", "dataset.json", "contact_sheet.png"}
    assert {path: after[path] for path in before if path not in own} == {
        path: data for path, data in before.items() if path not in own
    }
    assert {record["index"] for record in read_records(out)} == set(range(8))
    assert set(lines) <= set((out / "records.jsonl").read_text().splitlines())


def test_a_mask_that_was_retouched_stays_when_a_file_of_its_batch_or_pair_is_restored(
    generator: Generator, tmp_path: Path
) -> None:
    out, image = tmp_path / "out", generator.manifest.image
    write(generator, out, "stain", count=4)
    whole = snapshot(out)
    first, second = [record["files"] for record in read_records(out) if record["accepted"]][:2]
    retouched = encode_picture(np.full((image.height, image.width), 255, np.uint8))
    for pair in (first, second):
        (out / pair["mask"]).write_bytes(retouched)
    (out / first["image"]).unlink()
    write(generator, out, "stain", count=4)
    write(generator, out, "stain", count=4, restore=True)
    after = snapshot(out)
    assert [after[pair["mask"]] for pair in (first, second)] == [retouched] * 2
    assert after[first["image"]] == whole[first["image"]]
    assert after["records.jsonl"] == whole["records.jsonl"]


def test_a_pair_that_came_back_out_of_the_trash_is_a_pair_again(generator: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(generator, out, "stain", count=4)
    whole = snapshot(out)
    image = out / next(record for record in read_records(out) if record["accepted"])["files"]["image"]
    data = image.read_bytes()
    image.unlink()
    assert write(generator, out, "stain", count=4).defects["stain"].deleted == 1
    image.write_bytes(data)
    assert write(generator, out, "stain", count=4).defects["stain"].deleted == 0
    assert snapshot(out) == whole


def test_a_pair_deleted_by_hand_stays_deleted_until_it_is_restored(
    generator: Generator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(generator, out, "stain", count=8)
    whole = snapshot(out)
    gone = [record for record in read_records(out) if record["accepted"]][1]
    for path in gone["files"].values():
        (out / path).unlink()
    half = [record for record in read_records(out) if record["accepted"]][2]["files"]["image"]
    (out / half).unlink()  # of another one only the picture
    note = out / "test/stain/NOTES.txt"
    note.write_text("two were bad")
    for count in (8, 8, 10):  # also where its batch is filled up
        assert write(generator, out, "stain", count=count).defects["stain"].deleted == 2
        assert not any((out / path).exists() for path in (*gone["files"].values(), half))
    records = [record for record in read_records(out) if record.get("deleted")]
    assert [record["index"] for record in records] == [gone["index"], int(half[-10:-4])]
    edited = (
        out / next(r for r in read_records(out) if r["accepted"] and not r.get("deleted"))["files"]["mask"]
    )
    retouched = encode_picture(
        np.zeros((generator.manifest.image.height, generator.manifest.image.width), np.uint8)
    )
    edited.write_bytes(retouched)
    assert write(generator, out, "stain", count=8, restore=True).defects["stain"].deleted == 0
    assert snapshot(out).items() >= {path: whole[path] for path in (*gone["files"].values(), half)}.items()
    assert edited.read_bytes() == retouched  # only what was removed is made again
    assert note.read_text() == "two were bad"


def test_a_photograph_under_a_name_that_a_pair_will_have_is_refused_before_the_work(
    generator: Generator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(generator, out, "stain", count=4)
    mine = out / "test/stain/000005.png"
    mine.write_bytes(b"a photograph")
    before = snapshot(out)
    for force in (False, True):
        with pytest.raises(UserError, match=r"no command of ours wrote.*test/stain/000005\.png"):
            write(generator, out, "stain", count=8, force=force)
        assert snapshot(out) == before
    shape = (generator.manifest.image.width, generator.manifest.image.height)
    Image.new("RGB", shape).save(mine)  # one that looks as ours do
    before = mine.read_bytes()
    with pytest.raises(UserError, match=r"no command of ours wrote.*test/stain/000005\.png"):
        write(generator, out, "stain", count=8)
    assert mine.read_bytes() == before


def test_a_dataset_is_not_written_into_its_bundle(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with pytest.raises(UserError, match="lies in the bundle"):
        write(Generator.open(bundle, threads=1), bundle / "pairs", "good")
    assert not (bundle / "pairs").exists()


def test_force_removes_the_dataset_and_nothing_else(generator: Generator, tmp_path: Path) -> None:
    write(generator, tmp_path / "out", "stain")
    (tmp_path / "out/notes.txt").write_text("mine")
    (tmp_path / "out/test/stain/photograph.png").write_bytes(b"mine")
    write(generator, tmp_path / "out", "good", force=True)
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    left = [path.name for path in (tmp_path / "out/test").rglob("*.png")]
    assert left == ["photograph.png"]
    assert not (tmp_path / "out/ground_truth").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_photographs_is_refused(generator: Generator, tmp_path: Path, force: bool) -> None:
    (tmp_path / "out/train/good").mkdir(parents=True)
    (tmp_path / "out/train/good/000000.png").write_bytes(b"photograph")
    with pytest.raises(UserError, match=r"found other files: train/good/000000\.png.*choose another folder"):
        write(generator, tmp_path / "out", "good", force=force)
    assert (tmp_path / "out/train/good/000000.png").read_bytes() == b"photograph"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"schema": 1, "count": 1, "defects": ["../.."]}']
)
def test_a_broken_description_is_refused(generator: Generator, tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json"):
        write(generator, tmp_path, "good", force=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "dataset.json"]


def test_an_unwritable_folder_is_one_clear_error(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file/out: cannot write: a part of the path is a file"):
        write(generator, tmp_path / "file/out", "good")


def test_a_disk_that_fills_up_leaves_whole_files(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, calls = os.fsync, iter(range(1000))

    def fsync(handle: int) -> None:
        if next(calls) == 19:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="cannot write: the disk is full; free some space"):
        write(generator, tmp_path / "out", "stain", count=12)
    for file in (tmp_path / "out").rglob("*.png"):
        Image.open(file).load()
    assert len(read_records(tmp_path / "out")) % 4 == 0
    assert not list((tmp_path / "out").rglob(f"*{files.TEMPORARY_SUFFIX}"))
    monkeypatch.undo()
    write(generator, tmp_path / "out", "stain", count=12)
    write(generator, tmp_path / "whole", "stain", count=12)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


def test_records_that_no_longer_fit_are_cut_back(tiny_bundle: Path, tmp_path: Path) -> None:
    """A real limit of the system: files may not grow past 8 kB, which the records soon do."""
    limit = "import resource, signal; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))"
    out = tmp_path / "out"
    status, _, errors = run_python(f"{limit}\n{WRITE}", str(tiny_bundle), str(out), "40", "4", "0")
    assert status == 1
    assert "UserError" in errors
    assert "records.jsonl: cannot write: the file would exceed the size limit" in errors
    assert 4 <= len(read_records(out)) < 40
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 8192
    status, _, errors = run_python(WRITE, str(tiny_bundle), str(out), "40", "4", "0")
    assert status == 0, errors
    assert len(read_records(out)) == 120


def test_a_second_writer_is_refused(generator: Generator, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    refused: list[str] = []

    def second(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(UserError, match="another run is writing this dataset") as error:
                write(generator, tmp_path / "out", "good")
            refused.append(str(error.value))

    write_dataset(generator, DatasetRequest(("good",), 2), tmp_path / "out", second)
    assert refused
