"""Products in each layout are found as they are, split as the paper splits them, and described."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from seas_train.data import Kind, Layout, PhotographsConfig, inspect_product, load_product, products_in
from seas_train.data.names import natural_key, safe_name, unique_names
from seas_train.data.split import training_pairs
from tests.train.data.product_folders import (
    SIZE,
    photograph,
    save,
    square_mask,
    write_mvtec,
    write_mvtec3d,
    write_visa,
)


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_mvtec_is_detected_and_split(tmp_path: Path) -> None:
    product = load_product(write_mvtec(tmp_path / "bottle", {"dent": 7, "crack": 2}, normals=64), size=32)
    assert product.name == "bottle"
    assert product.layout is Layout.MVTEC
    assert [defect.name for defect in product.defects] == ["crack", "dent"]
    assert [(len(d.train), len(d.test)) for d in product.defects] == [(1, 1), (2, 5)]
    dents = product.defects[1].train
    assert [pair.image.name for pair in dents] == ["000.png", "001.png"]
    assert [pair.mask.name for pair in dents] == ["000_mask.png", "001_mask.png"]
    assert names(product.normals) == [f"{index:03}.png" for index in range(60)]
    assert len(product.test_normals) == 2
    assert product.report.normals.unused == 4
    assert not product.report.problems


def test_mvtec_loco_has_several_masks_a_picture(tmp_path: Path) -> None:
    """Its masks lie in a folder for each picture, and say by their value what is wrong."""
    folder = write_mvtec(tmp_path / "juice_bottle", {"logical_anomalies": 3, "structural_anomalies": 3})
    for number in range(2):
        save(photograph(70 + number), folder / "validation/good" / f"{number:03}.png")
    for defect in ("logical_anomalies", "structural_anomalies"):
        for number in range(3):
            (folder / f"ground_truth/{defect}/{number:03}_mask.png").unlink()
            save(square_mask(value=254), folder / f"ground_truth/{defect}/{number:03}/000.png")
    one = Image.new("L", SIZE)
    one.paste(249, (6, 0, 14, 8))
    save(one, folder / "ground_truth/logical_anomalies/000/001.png")
    product = load_product(folder, size=40)
    assert product.layout is Layout.MVTEC
    assert [(d.name, len(d.train), len(d.test)) for d in product.defects] == [
        ("logical_anomalies", 1, 2),
        ("structural_anomalies", 1, 2),
    ]
    assert [path.parent.parent.name for path in product.test_normals[:2]] == ["validation"] * 2
    logical, structural = (product.mask(defect.train[0]) for defect in product.defects)
    assert logical[2, 4]
    assert logical[20, 20]
    assert not structural[2, 4]
    assert structural[20, 20]
    assert not [problem for problem in product.report.problems if problem.kind is not Kind.FEW_NORMALS]


@pytest.mark.parametrize(("pairs", "expected"), [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (22, 7)])
def test_the_first_third_trains_and_at_least_one(pairs: int, expected: int) -> None:
    assert training_pairs(pairs, None) == expected
    assert training_pairs(pairs, 4) == min(4, pairs)


def test_shots_and_normals_override_the_split(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 6, "dent": 2}, normals=5)
    product = load_product(folder, PhotographsConfig(shots=4, normals=3), size=32)
    assert [(len(d.train), len(d.test)) for d in product.defects] == [(4, 2), (2, 0)]
    assert names(product.normals) == ["000.png", "001.png", "002.png"]
    text = product.report.to_text()
    assert "dent: expected 4 pairs to train, found 2: all of them train" in text
    assert "fewer normals" not in text
    assert (
        "expected 60 normal images, found 5: all of them train"
        in load_product(folder, size=32).report.to_text()
    )


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    product = tmp_path / "bottle"
    for name in ("10", "9", "1", "img2", "img10"):
        save(photograph(len(name)), product / "train/good" / f"{name}.png")
        save(photograph(ord(name[-1])), product / "test/crack" / f"{name}.png")
        save(square_mask(), product / "ground_truth/crack" / f"{name}_mask.png")
    loaded = load_product(product, PhotographsConfig(shots=5), size=32)
    assert names(loaded.normals) == ["1.png", "9.png", "10.png", "img2.png", "img10.png"]
    assert [pair.image.stem for pair in loaded.defects[0].train] == ["1", "9", "10", "img2", "img10"]
    assert sorted([Path("b10"), Path("b9"), Path("a")], key=natural_key) == [
        Path("a"),
        Path("b9"),
        Path("b10"),
    ]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".PNG", ".JPG", ".TIF"])
def test_every_ending_is_read_and_masks_may_have_another(tmp_path: Path, suffix: str) -> None:
    product = write_mvtec(tmp_path / "bottle", {"crack": 3}, suffix=suffix)
    masks = product / "ground_truth/crack"
    (masks / "001_mask.png").rename(masks / "001.png")
    (masks / "002_mask.png").unlink()
    save(square_mask(), masks / "002_MASK.TIFF")
    loaded = load_product(product, PhotographsConfig(shots=3), size=32)
    assert [pair.mask.name for pair in loaded.defects[0].train] == [
        "000_mask.png",
        "001.png",
        "002_MASK.TIFF",
    ]
    assert not [p for p in loaded.report.problems if "normal" not in p.message]


def test_folder_names_in_other_cases_and_hidden_files_are_fine(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    (product / "train").rename(product / "Train")
    (product / "test/good").rename(product / "test/Good")
    (product / "test/crack/.DS_Store").write_bytes(b"x")
    (product / "test/crack/Thumbs.db").write_bytes(b"x")
    (product / "test/crack/._000.png").write_bytes(b"x")
    loaded = load_product(product, PhotographsConfig(normals=4), size=32)
    assert len(loaded.normals) == 4
    assert len(loaded.test_normals) == 2
    assert not loaded.report.problems


def test_visa_as_published(tmp_path: Path) -> None:
    labels = [
        "chunk of wax missing",
        "chunk of wax missing",
        "chunk of wax missing",
        "melt,chunk of wax missing",
    ]
    product = load_product(write_visa(tmp_path, labels), PhotographsConfig(normals=2), size=32)
    assert product.name == "candle"
    assert product.layout is Layout.VISA
    assert [(d.name, d.label) for d in product.defects] == [
        ("chunk_of_wax_missing", "chunk of wax missing"),
        ("combined", "combined"),
    ]
    assert [(len(d.train), len(d.test)) for d in product.defects] == [(1, 2), (1, 0)]
    assert names(product.normals) == ["0001.JPG", "0003.JPG"]  # as split_csv says
    assert names(product.test_normals) == ["0000.JPG", "0002.JPG"]
    assert all(product.mask(pair).any() for d in product.defects for pair in (*d.train, *d.test))
    assert not product.report.problems
    assert "1 images have several labels: they form the defect 'combined'" in product.report.to_text()


def test_a_visa_normal_may_have_an_anomalys_file_name(tmp_path: Path) -> None:
    folder = write_visa(tmp_path, ["melt", "melt", "melt"])
    save(photograph(77), folder / "Data/Images/Normal/001.JPG")
    with (folder / "image_anno.csv").open("a") as table:
        table.write("candle/Data/Images/Normal/001.JPG,normal,\n")
    product = load_product(folder, PhotographsConfig(normals=2), size=32)
    assert [(d.name, len(d.train) + len(d.test)) for d in product.defects] == [("melt", 3)]
    assert "1 normal images are not listed in 1cls.csv and not used" in product.report.to_text()


def test_without_normals_for_testing_those_that_do_not_train_are(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "bottle", normals=12, test_normals=0)
    product = load_product(root, PhotographsConfig(normals=8), size=32)
    assert (len(product.normals), len(product.test_normals)) == (8, 4)
    assert not {*product.normals} & {*product.test_normals}
    assert load_product(root, PhotographsConfig(normals=12), size=32).test_normals == ()


def test_visa_without_its_tables_is_one_defect_and_one_pool_of_normals(tmp_path: Path) -> None:
    folder = write_visa(tmp_path, ["melt", "melt", "bent"], split=False)
    (folder / "image_anno.csv").unlink()
    product = load_product(folder, PhotographsConfig(normals=3), size=32)
    assert [(d.name, len(d.train), len(d.test)) for d in product.defects] == [("anomaly", 1, 2)]
    assert names(product.normals) == ["0000.JPG", "0001.JPG", "0002.JPG"]
    assert names(product.test_normals) == ["0003.JPG"]
    assert "all anomalies are taken as one defect 'anomaly'" in product.report.to_text()


def test_visa_prepared_in_mvtec_layout_has_label_maps(tmp_path: Path) -> None:
    product = load_product(write_mvtec(tmp_path / "candle", {"bad": 3}, value=2), size=32)
    assert product.layout is Layout.MVTEC
    assert product.mask(product.defects[0].train[0]).sum() > 20
    assert "masks read as two levels" in product.report.to_text()


def test_mvtec_3d_as_published(tmp_path: Path) -> None:
    product = load_product(
        write_mvtec3d(tmp_path / "bagel", {"crack": 3, "hole": 6}), PhotographsConfig(normals=4), size=32
    )
    assert product.layout is Layout.MVTEC3D
    assert [(d.name, len(d.train), len(d.test)) for d in product.defects] == [("crack", 1, 2), ("hole", 2, 4)]
    assert all(path.parent.name == "rgb" for path in product.normals)
    assert len(product.test_normals) == 3
    assert not product.report.problems


def test_defect_names_are_safe_for_folders_and_tokens() -> None:
    assert safe_name("Broken Large") == "broken_large"
    assert safe_name("../../etc/passwd") == "etc_passwd"
    assert safe_name("Kratzer (groß)") == "kratzer_groß"
    assert safe_name("傷・へこみ") == "傷_へこみ"
    assert safe_name("<df_1>") == "df_1"
    assert safe_name("!!!") == "defect"
    assert len(safe_name("x" * 300)) <= 60
    assert unique_names(["Good ", "crack", "Crack", "all"]) == {
        "Good ": "good_defect",
        "crack": "crack",
        "Crack": "crack_2",
        "all": "all_defect",
    }


def test_defects_are_chosen_by_name_or_label(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"Broken Large": 3, "Überlauf": 3, "dent": 3})
    for choice in (("broken_large",), ("Broken Large",)):
        product = load_product(folder, PhotographsConfig(defects=choice), size=32)
        assert [(d.name, d.label) for d in product.defects] == [("broken_large", "Broken Large")]
    assert [d.name for d in load_product(folder, size=32).defects] == ["broken_large", "dent", "überlauf"]


def test_the_fingerprint_follows_from_content(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    original = load_product(folder, size=32).fingerprint
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "renamed")
    (moved / "test/crack/000.png").rename(moved / "test/crack/0.png")
    (moved / "ground_truth/crack/000_mask.png").rename(moved / "ground_truth/crack/0_mask.png")
    assert load_product(moved, size=32).fingerprint == original
    save(photograph(1), folder / "test/crack/002.png")  # tests only
    assert load_product(folder, size=32).fingerprint == original
    others = {
        load_product(folder, size=64).fingerprint,
        load_product(folder, PhotographsConfig(shots=2), size=32).fingerprint,
        load_product(folder, PhotographsConfig(normals=3), size=32).fingerprint,
    }
    save(square_mask(SIZE, 254), folder / "ground_truth/crack/000_mask.png")
    others.add(load_product(folder, size=32).fingerprint)
    assert len(others | {original}) == 5


def test_the_report_as_json_and_as_text(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 30})
    for index in range(25):
        (folder / f"ground_truth/crack/{index:03}_mask.png").unlink()
    report = inspect_product(folder, size=32)
    values = json.loads(json.dumps(report.to_dict()))
    assert values["usable"] is True
    assert values["defects"] == [
        {"name": "crack", "label": "crack", "found": 30, "train": 1, "test": 4, "unused": 0, "left_out": 25}
    ]
    assert len([p for p in values["problems"] if p["kind"] == "missing mask"]) == 25
    assert values["problems"][0]["path"] == "test/crack/000.png"
    text = report.to_text()
    assert "missing mask (25)" in text
    assert "... and 5 more" in text
    assert text.endswith("Usable, with 26 warnings.")


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not Unicode exist on Linux alone")
def test_a_name_that_is_not_unicode_can_be_printed(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle")
    Path(os.fsdecode(os.fsencode(folder / "test/crack") + b"/\xff.txt")).write_bytes(b"x")
    assert "not an image" in inspect_product(folder, size=32).to_text().encode().decode()


def test_products_are_listed(tmp_path: Path) -> None:
    write_mvtec(tmp_path / "bottle")
    write_visa(tmp_path, ["melt"])
    write_mvtec3d(tmp_path / "bagel", {"hole": 1})
    (tmp_path / "notes").mkdir()
    assert products_in(tmp_path) == ["bagel", "bottle", "candle"]
