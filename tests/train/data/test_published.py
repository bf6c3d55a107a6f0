"""The published data sets' products are recognised from folders laid out as they are published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_train.data.layouts import Layout, choose_layout, find_files, products_in
from seas_train.data.names import unique_names
from seas_train.data.problems import Problems
from seas_train.data.published import PUBLISHED, Published, recognise, recognition_line


def write(file: Path, value: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(file)


def lay_out(root: Path, entry: Published) -> Path:
    """Write a product's folders with an image of each defect, as its data set has them."""
    product = root / entry.product
    if entry.layout is Layout.MVTEC:
        write(product / "train/good/000.png")
        for defect in entry.defects:
            write(product / f"test/{defect}/000.png")
            write(product / f"ground_truth/{defect}/000_mask.png", 255)
    elif entry.layout is Layout.MVTEC3D:
        write(product / "train/good/rgb/000.png")
        for defect in entry.defects:
            for kind, value in (("rgb", 0), ("gt", 255)):
                write(product / f"test/{defect}/{kind}/000.png", value)
    else:
        write(product / "Data/Images/Normal/0000.JPG")
        rows = ["image,label,mask"]
        for index, defect in enumerate(entry.defects):
            write(product / f"Data/Images/Anomaly/{index:03d}.JPG")
            write(product / f"Data/Masks/Anomaly/{index:03d}.png", 1)
            label = defect.replace("_", " ")
            folder = f"{entry.product}/Data"
            rows.append(
                f"{folder}/Images/Anomaly/{index:03d}.JPG,{label},{folder}/Masks/Anomaly/{index:03d}.png"
            )
        (product / "image_anno.csv").write_text("\n".join(rows))
    return product


def test_how_many_there_are() -> None:
    counts = Counter(layout for layout, _ in PUBLISHED)
    assert counts == {Layout.MVTEC: 15, Layout.VISA: 12, Layout.MVTEC3D: 10}
    assert sum(len(entry.defects) for key, entry in PUBLISHED.items() if key[0] is Layout.MVTEC) == 73


@pytest.mark.parametrize("key", PUBLISHED, ids=lambda key: f"{key[0].value}-{key[1]}")
def test_a_published_product_is_recognised_from_its_folder(tmp_path: Path, key: tuple[Layout, str]) -> None:
    entry = PUBLISHED[key]
    product = lay_out(tmp_path, entry)
    assert products_in(tmp_path) == [entry.product]
    assert choose_layout(product, None) is entry.layout
    problems = Problems()
    found = find_files(product, entry.layout, problems)
    names = list(unique_names([defect.label for defect in found.defects]).values())
    assert sorted(names) == sorted(entry.defects)
    assert recognise(entry.product, entry.layout, names) is entry


def test_what_is_missing_or_besides_is_said() -> None:
    assert recognition_line("bottle", Layout.MVTEC, ["broken_large", "broken_small", "contamination"]) == (
        "MVTec AD's bottle, all 3 defects"
    )
    assert recognition_line("bottle", Layout.MVTEC, ["broken_large", "contamination", "dent"]) == (
        "MVTec AD's bottle; without broken_small; besides: dent"
    )


def test_a_product_of_ones_own_with_a_published_name_is_not_taken_for_it() -> None:
    assert recognise("bottle", Layout.MVTEC, ["scratch", "dent"]) is None
    assert recognise("bottle", Layout.VISA, ["broken_large", "broken_small", "contamination"]) is None
    assert recognise("bracket", Layout.MVTEC, ["scratch"]) is None
