"""Masks that were copied among the photographs are never trained on as photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_train.data import Kind, load_product
from tests.train.data.product_folders import SIZE, photograph, save, square_mask, write_mvtec, write_mvtec3d


def strays(product: object) -> list[Path]:
    return [p.path for p in product.report.problems if p.kind is Kind.STRAY_MASK]


def used(product: object) -> list[Path]:
    pairs = [pair for defect in product.defects for pair in (*defect.train, *defect.test)]
    return [*product.normals, *product.test_normals, *(pair.image for pair in pairs)]


@pytest.mark.parametrize("count", [1, 3])
def test_masks_copied_beside_the_photographs_are_told_and_not_used(tmp_path: Path, count: int) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    for index in range(count):
        name = f"{index:03}_mask.png"
        shutil.copy(folder / "ground_truth/crack" / name, folder / "test/crack" / name)
    product = load_product(folder, size=32)
    pairs = [*product.defects[0].train, *product.defects[0].test]
    assert [pair.image.name for pair in pairs] == ["000.png", "001.png", "002.png"]
    assert all(pair.mask.stem == f"{pair.image.stem}_mask" for pair in pairs)
    assert all(pair.mask.parent.parent.name == "ground_truth" for pair in pairs)
    assert len(strays(product)) == count


SPELLINGS = (
    "000_mask",
    "000_gt",
    "000_label",
    "000_seg",
    "000-mask",
    "000.mask",
    "000_MASK",
    "mask_000",
    "000_mask_1",
)


@pytest.mark.parametrize("name", SPELLINGS)
def test_masks_alone_beside_their_photographs_are_used_as_masks(tmp_path: Path, name: str) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 1})
    (folder / "ground_truth/crack/000_mask.png").rename(folder / "test/crack" / f"{name}.png")
    (pair,) = load_product(folder, size=32).defects[0].train
    assert (pair.image.name, pair.mask.stem) == ("000.png", name)


def test_a_mask_of_the_photographs_stem_with_another_ending(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3}, suffix=".jpg")
    for index in range(3):
        mask = folder / "ground_truth/crack" / f"{index:03}_mask.png"
        shutil.copy(mask, folder / "test/crack" / f"{index:03}.png")
    product = load_product(folder, size=32)
    assert len(product.defects[0].train) + len(product.defects[0].test) == 3
    assert all(path.suffix == ".jpg" for path in used(product))


@pytest.mark.parametrize("place", ["train/good/017.png", "test/good/some picture.png", "test/crack/9.png"])
def test_a_copy_of_a_mask_under_any_name_is_found_by_its_content(tmp_path: Path, place: str) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    shutil.copy(folder / "ground_truth/crack/000_mask.png", folder / place)
    if place.startswith("test/crack"):
        shutil.copy(folder / "ground_truth/crack/000_mask.png", folder / "ground_truth/crack/9.png")
    product = load_product(folder, size=32)
    assert folder / place in strays(product)
    assert folder / place not in used(product)


def test_empty_masks_of_normals_and_compressed_masks(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 1})
    save(Image.new("L", SIZE), folder / "train/good/000_mask.png")
    save(square_mask(), folder / "test/good/000_mask.jpg", quality=60)
    product = load_product(folder, size=32)
    assert not [path for path in used(product) if "mask" in path.name]
    assert len(strays(product)) == 2


def test_a_photograph_called_like_a_mask_stays_one(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 1})
    save(photograph(7), folder / "train/good/front_label.png")
    save(photograph(8), folder / "test/crack/front_label.png")
    save(square_mask(), folder / "ground_truth/crack/front_label_mask.png")
    product = load_product(folder, size=32)
    assert not strays(product)
    assert len([path for path in used(product) if path.stem == "front_label"]) == 2


def test_masks_among_the_photographs_of_other_layouts(tmp_path: Path) -> None:
    folder = write_mvtec3d(tmp_path / "bagel", {"hole": 2})
    shutil.copy(folder / "test/hole/gt/000.png", folder / "test/hole/rgb/000_gt.png")
    product = load_product(folder, size=32)
    assert [path.name for path in strays(product)] == ["000_gt.png"]


def test_nested_mask_folders_are_joined(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    truth = folder / "ground_truth/crack"
    for index in range(3):
        mask = Image.open(truth / f"{index:03}_mask.png").copy()
        (truth / f"{index:03}_mask.png").unlink()
        save(mask, truth / f"{index:03}" / "000.png")
        if index == 0:
            other = np.zeros((SIZE[1], SIZE[0]), np.uint8)
            other[:8, 6:14] = 200  # inside the crop
            save(Image.fromarray(other), truth / "000" / "001.png")
    product = load_product(folder, size=40)
    (first,) = product.defects[0].train
    assert not product.report.warnings[1:]  # but for few normals
    mask = product.mask(first)
    assert mask[2, 4]  # the second file's
    assert mask[20, 20]  # the first's
    assert len(product.defects[0].test) == 2
