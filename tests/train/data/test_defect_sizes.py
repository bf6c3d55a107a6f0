"""How small defects become, and what a centre crop costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_train.data import Fit, Kind, PhotographsConfig, ProductReport, Regions, inspect_product
from tests.train.data.product_folders import photograph, save, write_mvtec


def product_of(
    folder: Path, size: tuple[int, int], boxes: list[tuple[int, int, int, int]], suffix: str = ".jpg"
) -> Path:
    """Normals of that size, and a pair for each box of defect (left, top, width, height)."""
    write_mvtec(folder, {}, normals=0, test_normals=0)
    picture = photograph(3, (size[0] // 8, size[1] // 8)).resize(size, Image.Resampling.NEAREST)
    for index in range(2):
        save(picture, folder / f"train/good/{index}{suffix}")
    for index, (left, top, width, height) in enumerate(boxes):
        mask = np.zeros((size[1], size[0]), np.uint8)
        mask[top : top + height, left : left + width] = 255
        save(picture, folder / f"test/dent/{index}{suffix}")
        save(Image.fromarray(mask), folder / f"ground_truth/dent/{index}.png")
    return folder


def of_kind(report: ProductReport, kind: Kind) -> list[str]:
    return [problem.message for problem in report.problems if problem.kind is kind]


def test_twenty_megapixels_and_a_defect_of_41_px(tmp_path: Path) -> None:
    """Was: 8 px at 256, of no word."""
    boxes = [(2500, 1800, 41, 41), (2500, 1800, 82, 82), (2500, 1800, 900, 900)]
    product = product_of(tmp_path / "part", (5472, 3648), boxes)
    whole = PhotographsConfig(regions=Regions.OFF)
    report = inspect_product(product, whole, size=256)
    assert "dent: smallest 8.3 px (0.1 latent cells), median 33 px (0.5)" in report.to_text()
    assert of_kind(report, Kind.SMALL_DEFECT) == [
        "dent: at 256 x 256, smallest 8.3 px (0.1 latent cells), median 33 px (0.5); 2 of 3 are smaller than "
        "a cell of 8 x 8 px, of which little can be learned. Train on regions of them (--regions on), "
        "or take a base of larger images: 360 x 360 makes the median a cell"
    ]
    size = report.to_dict()["sizes"][0]
    assert (size["smallest"], size["median"], size["below_cell"]) == (8.3, 33.1, 2)
    assert of_kind(inspect_product(product, whole, size=2048), Kind.SMALL_DEFECT) == []


def test_sizes_follow_the_fit(tmp_path: Path) -> None:
    product = product_of(tmp_path / "part", (800, 400), [(300, 150, 80, 80)], ".png")
    found = {
        fit: inspect_product(product, PhotographsConfig(fit=fit), size=200).to_dict()["sizes"][0]["median"]
        for fit in Fit
    }
    assert found == {Fit.CROP: 1600, Fit.PAD: 400, Fit.STRETCH: 800}


def test_oblong_photographs_lose_most_of_themselves_to_the_crop(tmp_path: Path) -> None:
    """Was: 85 % of every normal, unsaid; and a pair with 6 of 280 columns of its defect was kept."""
    boxes = [(1168, 100, 280, 40), (1000, 100, 280, 40), (1100, 100, 60, 40), (900, 100, 280, 40)]
    product = product_of(tmp_path / "part", (2048, 300), boxes, ".png")
    report = inspect_product(product, PhotographsConfig(fit=Fit.CROP, regions=Regions.OFF), size=256)
    assert len(of_kind(report, Kind.CROPPED)) == 1
    assert of_kind(report, Kind.CROPPED)[0].startswith("85 % of the normal pictures (mostly 2048 x 300)")
    outside = of_kind(report, Kind.OUTSIDE_CROP)
    assert outside == ["2 % of its 11200 px is inside; the pair is left out (--fit pad or stretch keeps it)"]
    assert of_kind(report, Kind.DEFECT_CUT) == ["62 % of its 11200 px are inside; kept (--fit pad keeps all)"]
    assert report.defects[0].train + report.defects[0].test == 3
    padded = inspect_product(product, PhotographsConfig(fit=Fit.PAD, regions=Regions.OFF), size=256)
    assert not of_kind(padded, Kind.CROPPED) + of_kind(padded, Kind.OUTSIDE_CROP)


@pytest.mark.parametrize(
    ("size", "warned", "noted"),
    [
        ((400, 400), False, False),
        ((400, 300), False, True),
        ((300, 400), False, True),
        ((480, 270), True, False),
    ],
)
def test_what_the_crop_leaves_out_is_noted_or_warned_of(
    tmp_path: Path, size: tuple[int, int], warned: bool, noted: bool
) -> None:
    middle = (size[0] // 2 - 40, size[1] // 2 - 40, 80, 80)
    report = inspect_product(product_of(tmp_path / "part", size, [middle]), size=256)
    assert bool(of_kind(report, Kind.CROPPED)) is warned
    assert any("the centre crop leaves out" in note for note in report.notes) is noted
