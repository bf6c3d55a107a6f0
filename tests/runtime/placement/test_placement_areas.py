"""Legal and forbidden areas: mask pictures and LabelMe's JSON, each error its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seas_runtime.errors import UserError
from seas_runtime.photographs.png import encode_png
from seas_runtime.placement.where.areas import read_area


def save(path: Path, pixels: np.ndarray) -> Path:
    path.write_bytes(encode_png(pixels))
    return path


def labelme(path: Path, *shapes: dict[str, Any], **changes: Any) -> Path:
    values = {"imageHeight": 60, "imageWidth": 80, "shapes": list(shapes), "imageData": None, **changes}
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("most", [1, 255, 65535])
def test_masks_of_any_two_levels(tmp_path: Path, most: int) -> None:
    truth = np.zeros((60, 80), bool)
    truth[10:20, 5:50] = True
    dtype = np.uint16 if most > 255 else np.uint8
    area = read_area(save(tmp_path / "a.png", truth.astype(dtype) * dtype(most)), "--legal")
    assert np.array_equal(area.mask, truth)
    colour = np.repeat(truth[..., None], 3, axis=2).astype(np.uint8) * np.array([255, 0, 0], np.uint8)
    assert np.array_equal(read_area(save(tmp_path / "c.png", colour), "--legal").mask, truth)
    Image.fromarray(truth).save(tmp_path / "bits.png")
    assert np.array_equal(read_area(tmp_path / "bits.png", "--legal").mask, truth)


def test_everything_may_be_legal(tmp_path: Path) -> None:
    assert read_area(save(tmp_path / "a.png", np.full((5, 6), 255, np.uint8)), "--legal").mask.all()


def test_what_labelme_draws(tmp_path: Path) -> None:
    area = read_area(
        labelme(
            tmp_path / "a.json",
            {"label": "x", "points": [[10, 10], [30, 10], [30, 20], [10, 20]], "shape_type": "polygon"},
            {"label": "y", "points": [[60, 50], [40, 30]], "shape_type": "rectangle"},
            {"label": "z", "points": [[70, 10], [70, 15]], "shape_type": "circle"},
        ),
        "--legal",
    )
    assert area.mask.shape == (60, 80)
    y, x = np.mgrid[:60, :80]
    truth = (x >= 10) & (x <= 30) & (y >= 10) & (y <= 20)
    truth |= (x >= 40) & (x <= 60) & (y >= 30) & (y <= 50)
    truth |= (x - 70) ** 2 + (y - 10) ** 2 <= 25
    assert (area.mask & truth).sum() / (area.mask | truth).sum() > 0.95


def test_an_area_must_have_the_photographs_size(tmp_path: Path) -> None:
    area = read_area(save(tmp_path / "a.png", np.full((5, 6), 255, np.uint8)), "--forbidden")
    area.require((5, 6))
    with pytest.raises(
        UserError, match=r"--forbidden .*a\.png: expected the size .* 7 x 5 pixels, found 6 x 5"
    ):
        area.require((5, 7))


POLYGON = {"label": "x", "points": [[1, 1], [5, 1], [5, 5]]}


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        ([], {}, "expected an area, found none"),
        ([{**POLYGON, "points": [[100, 100], [120, 100], [120, 120]]}], {}, "expected an area, found none"),
        ([{**POLYGON, "points": [[1, 1], [5, 1]]}], {}, "expected 3 points or more of a polygon"),
        ([{**POLYGON, "shape_type": "line"}], {}, "one of polygon, rectangle, circle, found 'line'"),
        ([{**POLYGON, "shape_type": "circle"}], {}, "expected 2 points of a circle"),
        ([{**POLYGON, "points": [["a", 1]] * 3}], {}, "pairs of numbers"),
        ([{**POLYGON, "points": [[1e9, 1]] * 3}], {}, "points on the picture"),
        ([{**POLYGON, "points": "x"}], {}, "expected a list"),
        (["x"], {}, r"shapes\[0\]: expected an object"),
        ([POLYGON], {"imageHeight": None}, "imageHeight: expected a whole number"),
        ([POLYGON], {"imageHeight": 100_000, "imageWidth": 100_000}, "expected at most .* pixels"),
        ([POLYGON], {"shapes": {}}, "shapes: expected a list"),
    ],
)
def test_what_is_wrong_with_labelmes_json(
    tmp_path: Path, shapes: list[Any], changes: dict[str, Any], message: str
) -> None:
    path = labelme(tmp_path / "a.json", *shapes, **changes)
    with pytest.raises(UserError, match=rf"a\.json.*{message}"):
        read_area(path, "--legal")


def test_what_is_no_area(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(UserError, match="expected LabelMe's JSON"):
        read_area(tmp_path / "a.json", "--legal")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(UserError, match="expected JSON"):
        read_area(tmp_path / "b.json", "--legal")
    with pytest.raises(UserError, match="cannot be opened"):
        read_area(tmp_path / "nowhere.png", "--legal")
    with pytest.raises(UserError, match=r"--legal .*expected an area, found none"):
        read_area(save(tmp_path / "black.png", np.zeros((4, 4), np.uint8)), "--legal")
