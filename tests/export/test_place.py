"""`place` draws where defects would go: masks, a sheet, a record; every mistake has its own words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.photographs.png import encode_png
from tests.export.commands import Run
from tests.runtime.bundles import DEFECTS, Toy, toy_backgrounds, write_tiny_bundle


@pytest.fixture(scope="module")
def placed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("placed") / "bundle", Toy(placement=True))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "line 3"
    folder.mkdir()
    wide, colour = toy_backgrounds()
    (folder / "a b.png").write_bytes(encode_png(wide))
    (folder / "c.png").write_bytes(encode_png(colour))
    return folder


def read(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def test_masks_a_sheet_and_a_record(run: Run, placed_bundle: Path, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = run("place", placed_bundle, "--onto", photographs, "--count", 5, "--out", out, "--json")
    assert ended.code == 0, ended.err
    record = json.loads((out / "placements.json").read_text())
    assert record["placements"] == ended.json["placements"]
    assert ended.json["photographs"] == 2
    assert [(entry["defect"], entry["index"]) for entry in record["placements"]] == [
        (name, index) for name in DEFECTS for index in range(5)
    ]
    for entry in record["placements"]:
        mask = read(out / entry["mask"])
        assert mask.shape == (90, 120) == tuple(entry["size"])
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).sum() == entry["pixels"]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert entry["box"] == [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
        assert not mask[:13].any()  # on the plate
        name = Path(entry["photograph"]).stem
        assert entry["mask"] == f"{entry['defect']}/{name}_{entry['index']:03d}.png"
        assert name == ["a b", "c"][entry["index"] % 2]
    sheet = read(out / "placements.png")
    assert sheet.shape[1] > 1000
    red = (sheet[..., 0] > 200) & (sheet[..., 1] < 80)
    assert red.sum() > 2000


def test_the_bundles_own_photographs_and_the_same_again(
    run: Run, placed_bundle: Path, tmp_path: Path
) -> None:
    words = ("place", placed_bundle, "--defect", "stain", "--count", 3, "--per-picture", "1:2", "--seed", 7)
    assert run(*words, "--out", tmp_path / "a").code == 0
    assert run(*words, "--out", tmp_path / "b").code == 0
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert sorted(map(str, names)) == [
        ".seas-export.json",
        "placements.json",
        "placements.png",
        "stain/000_000.png",
        "stain/000_002.png",
        "stain/001_001.png",
    ]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    more = run("place", placed_bundle, "--defect", "stain", "--count", 6, "--per-picture", "1:2", "--seed", 7,
               "--out", tmp_path / "c")  # fmt: skip
    assert more.code == 0
    first = [read(tmp_path / folder / "stain/000_000.png") for folder in ("a", "c")]
    assert np.array_equal(*first)  # a placement is told by seed, defect and number alone


def test_placements_in_a_row_on_one_photograph(
    run: Run, placed_bundle: Path, photographs: Path, tmp_path: Path
) -> None:
    """2x3: two masks in a row on each photograph; how many pairs each has is for `generate`."""
    words = ("place", placed_bundle, "--onto", photographs, "--defect", "stain", "--count", 5)
    ended = run(*words, "--per-background", "2x3", "--out", tmp_path / "two")
    assert ended.code == 0, ended.err
    assert run(*words, "--out", tmp_path / "turns").code == 0
    shared, turns = (
        json.loads((tmp_path / name / "placements.json").read_text()) for name in ("two", "turns")
    )
    names = [[Path(entry["photograph"]).stem for entry in found["placements"]] for found in (shared, turns)]
    assert names == [["a b", "a b", "c", "c", "a b"], ["a b", "c", "a b", "c", "a b"]]
    assert shared["options"]["per_background"] == [2, 3]
    assert len({str(entry["box"]) for entry in shared["placements"][:2]}) == 2
    refused = run(*words, "--per-background", "2", "--out", tmp_path / "none")
    assert refused.code == 2
    assert "--per-background: expected NxM" in refused.err
    assert not (tmp_path / "none").exists()


def test_what_was_placed_is_a_source_of_masks(
    run: Run, placed_bundle: Path, photographs: Path, tmp_path: Path
) -> None:
    words = ("place", placed_bundle, "--onto", photographs, "--defect", "stain", "--count", 2)
    assert run(*words, "--out", tmp_path / "a").code == 0
    again = run(*words, "--out", tmp_path / "b", "--placement-source", tmp_path / "a", "--where", "given")
    assert again.code == 0, again.err
    given = [read(path) for path in (tmp_path / "a/stain").iterdir()]
    for path in (tmp_path / "b/stain").iterdir():
        assert any(np.array_equal(read(path), mask) for mask in given)


def test_force_replaces_what_it_wrote(run: Run, placed_bundle: Path, tmp_path: Path) -> None:
    words = ("place", placed_bundle, "--count", 1, "--out", tmp_path / "out")
    assert run(*words).code == 0
    refused = run(*words)
    assert refused.code == 2
    assert "there is a folder of placements already" in refused.err
    assert run(*words, "--defect", "stain", "--force").code == 0
    assert not (tmp_path / "out/broken_large").exists()


def test_mistakes(run: Run, placed_bundle: Path, toy_bundle: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"no picture")
    area = tmp_path / "area.png"
    area.write_bytes(encode_png(np.full((40, 40), 255, np.uint8)))
    black = tmp_path / "black.png"
    black.write_bytes(encode_png(np.zeros((90, 120), np.uint8)))
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong: dict[str, tuple[object, ...]] = {
        "carries none. Give --onto DIR, or export it again with --backgrounds 16": (toy_bundle,),
        "expected training masks of 'broken_large' in the bundle": (toy_bundle, "--onto", photographs),
        "normals have no mask": (placed_bundle, "--defect", "good"),
        "the bundle does not have it": (placed_bundle, "--defect", "nothing"),
        "--count: expected a whole number from 1 to 1000": (placed_bundle, "--count", 0),
        "--per-picture: expected": (placed_bundle, "--per-picture", "x"),
        "--box-sizes: are of --placement-source boxes": (placed_bundle, "--box-sizes", "3:4"),
        "expected the size of the photographs, 120 x 90 pixels, found 40 x 40": (
            placed_bundle,
            "--legal",
            area,
        ),
        "expected an area, found none": (placed_bundle, "--where", black),
        "--where forground: expected auto, foreground, grabcut, anywhere, given, or a file, found nothing": (
            placed_bundle,
            "--where",
            "forground",
        ),
        "expected photographs": (placed_bundle, "--onto", empty),
        "is not a PNG": (placed_bundle, "--forbidden", tmp_path / "text.png"),
        "found no place for a mask of 'broken_large'": (
            *(placed_bundle, "--where", "anywhere", "--placement-source", "boxes", "--box-sizes", "130:140"),
        ),
    }
    for message, words in wrong.items():
        ended = run("place", *words, "--out", tmp_path / "out")
        assert ended.code == 2, message
        assert message in " ".join(ended.err.split()), ended.err
        assert not (tmp_path / "out").exists()
    inside = run("place", placed_bundle, "--onto", photographs, "--out", photographs / "out")
    assert inside.code == 2
    assert "lies in --onto" in inside.err


def test_inspect_and_diff_say_what_is_there(
    run: Run, placed_bundle: Path, toy_bundle: Path, tmp_path: Path
) -> None:
    said = run("inspect", placed_bundle).out
    assert "Photographs to draw into: 2. Shapes of training masks: 2 of broken_large, 2 of stain." in said
    assert run("inspect", placed_bundle, "--json").json["shapes"] == {"broken_large": 2, "stain": 2}
    assert "Photographs to draw into: none. Shapes of training masks: none." in run("inspect", toy_bundle).out
    words = run("diff", toy_bundle, placed_bundle).out
    assert "The number of photographs to draw into changed from 0 to 2." in words
    assert "The number of shapes of 'stain' changed from 0 to 2." in words
    assert "The table 'placement' is new." in words
    assert "backgrounds/" not in words
