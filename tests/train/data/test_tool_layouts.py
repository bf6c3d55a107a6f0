"""Folders as factories sort them and labelling tools write them."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from seas_runtime.dataset.formats.shapes.runs import decode_runs
from seas_runtime.errors import UserError
from seas_train.data import Kind, Layout, Product, inspect_product, load_product, products_in
from seas_train.data.layouts import choose_layout
from tests.train.data.product_folders import SIZE, photograph, save, square_mask

SQUARE = [[10, 8], [30, 8], [30, 24], [10, 24]]  # x, y, its edge belongs to it
WIDTH, HEIGHT = SIZE


def expected(points: list[list[float]] = SQUARE) -> np.ndarray:
    mask = Image.new("L", SIZE)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points], fill=255)
    return np.asarray(mask) > 0


def masks(product: Product) -> dict[str, list[np.ndarray]]:
    """Every pair's mask as it lies in its file, by defect."""
    return {
        defect.name: [np.asarray(Image.open(pair.mask)) > 0 for pair in (*defect.train, *defect.test)]
        for defect in product.defects
    }


def photographs(folder: Path, count: int, first: int = 0, suffix: str = ".png") -> list[Path]:
    return [save(photograph(first + i), folder / f"{first + i:03}{suffix}") for i in range(count)]


# --- OK and NG ---


@pytest.mark.parametrize("good", ["OK", "good", "ok", "Normal", "PASS"])
@pytest.mark.parametrize("place", ["masks", "masks/NG", "ground_truth/NG", "NG/masks", "NG_mask", "NG"])
def test_ok_and_ng_folders_are_read(tmp_path: Path, good: str, place: str) -> None:
    folder = tmp_path / "part"
    photographs(folder / good, 4)
    for image in photographs(folder / "NG", 3, first=10):
        name = f"{image.stem}_mask.png" if place == "NG" else image.name
        save(square_mask(), folder / place / name)
    product = load_product(folder, size=32)
    assert product.layout is Layout.OKNG
    assert len(product.normals) == 4
    assert [(d.name, len(d.train) + len(d.test)) for d in product.defects] == [("ng", 3)]
    assert "(okng layout: OK (or good" in product.report.to_text()


def test_ok_and_ng_in_train_and_test(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    for part, first in (("train", 0), ("val", 20)):
        photographs(folder / part / "OK", 3, first)
        for image in photographs(folder / part / "NG", 2, first + 10):
            save(square_mask(), folder / part / "NG" / f"{image.stem}_mask.png")
    product = load_product(folder, size=32)
    assert (len(product.normals), len(product.test_normals)) == (3, 3)


def test_mvtecs_folders_with_ok_and_ng(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    photographs(folder / "train" / "OK", 3)
    photographs(folder / "test" / "OK", 2, 5)
    for image in photographs(folder / "test" / "NG", 2, 10):
        save(square_mask(), folder / "ground_truth" / "NG" / image.name)
    product = load_product(folder, size=32)
    assert (product.layout, len(product.test_normals)) == (Layout.MVTEC, 2)
    assert [defect.name for defect in product.defects] == ["ng"]


def test_ng_without_masks_is_refused_with_the_way_on(tmp_path: Path) -> None:
    photographs(tmp_path / "OK", 3)
    photographs(tmp_path / "NG", 3, 10)
    report = inspect_product(tmp_path, size=32)
    (error,) = [p for p in report.errors if p.kind is Kind.FOLDER_MISSING]
    assert "expected masks of NG, found none. A mask is needed for each: outline" in error.message


# --- LabelMe ---


def labelme(image: Path, shapes: list[dict[str, Any]], **more: Any) -> None:
    values = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image.name, "imageData": None}
    values |= {"imageHeight": HEIGHT, "imageWidth": WIDTH, **more}
    image.with_suffix(".json").write_text(json.dumps(values))


def polygon(label: str = "scratch", points: list[list[float]] = SQUARE) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}


def test_labelme_polygons_are_masks(tmp_path: Path) -> None:
    for image in photographs(tmp_path / "part", 3):
        labelme(image, [polygon()])
    for image in photographs(tmp_path / "part", 2, 10):
        labelme(image, [polygon("dent"), polygon("scratch", [[0, 0], [5, 0], [5, 5]])])
    for image in photographs(tmp_path / "part", 2, 20):
        labelme(image, [])
    assert products_in(tmp_path) == ["part"]
    product = load_product(tmp_path / "part", size=32)
    assert product.layout is Layout.LABELME
    found = masks(product)
    assert {name: len(every) for name, every in found.items()} == {"scratch": 3, "combined": 2}
    assert all((mask == expected()).all() for mask in found["scratch"])
    assert len(product.normals) == 2
    again = load_product(tmp_path / "part", size=32)
    assert again.fingerprint == product.fingerprint  # drawn masks are the same bytes


def test_labelme_circles_and_brush_masks(tmp_path: Path) -> None:
    first, second = photographs(tmp_path / "train", 2)
    labelme(first, [{"label": "hole", "points": [[20, 20], [25, 20]], "shape_type": "circle"}])
    stream = io.BytesIO()
    Image.new("L", (5, 4), 1).save(stream, "PNG")
    brush = base64.b64encode(stream.getvalue()).decode()
    shape = {"label": "hole", "points": [[3, 6], [7, 9]], "shape_type": "mask", "mask": brush}
    labelme(second, [shape], imageHeight=None, imageWidth=None)
    photographs(tmp_path / "good", 2, 10)
    round_one, square = masks(load_product(tmp_path, size=40))["hole"]
    assert round_one[20, 20]
    assert abs(int(round_one.sum()) - 79) < 20  # pi r^2, and half of the edge
    assert square.sum() == 20
    assert square[6:10, 3:8].all()


def test_labelme_boxes_alone_are_refused_with_the_way_on(tmp_path: Path) -> None:
    for image in photographs(tmp_path, 2):
        labelme(image, [{"label": "x", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}])
    report = inspect_product(tmp_path, size=32)
    (error,) = [p for p in report.errors if p.kind is Kind.BOXES]
    assert "all 2 marks are boxes or lines. A mask is needed for each" in error.message


@pytest.mark.parametrize("content", ['{"shapes": [', '{"shapes": [{"label": "x"}], "imagePath": ""}', "[]"])
def test_a_broken_labelme_file_is_one_warning(tmp_path: Path, content: str) -> None:
    first, second, third = photographs(tmp_path, 3)
    labelme(first, [polygon()])
    labelme(second, [])
    third.with_suffix(".json").write_text(content)
    product = load_product(tmp_path, size=32)
    assert third.name not in [path.name for path in product.normals]
    assert any(p.path is not None and p.path.stem == third.stem for p in product.report.warnings)


def test_labelme_files_in_mvtecs_folders(tmp_path: Path) -> None:
    photographs(tmp_path / "train/good", 3)
    for image in photographs(tmp_path / "test/scratch", 3, 10):
        labelme(image, [polygon("whatever")])
    product = load_product(tmp_path, size=32)
    assert [(mask == expected()).all() for mask in masks(product)["scratch"]] == [True] * 3


def test_a_problem_of_a_drawn_mask_names_the_tools_file(tmp_path: Path) -> None:
    for image in photographs(tmp_path, 2):
        labelme(image, [polygon()])
    for image in photographs(tmp_path, 1, 10):
        labelme(image, [polygon("x", [[100, 100], [110, 100], [110, 110]])])  # outside of the picture
    photographs(tmp_path / "good", 2, 20)
    report = inspect_product(tmp_path, size=32)
    assert tmp_path / "010.json" in [problem.path for problem in report.warnings]


# --- COCO ---


def coco(file: Path, names: list[str], outlines: list[dict[str, Any]]) -> None:
    images = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)]
    annotations = [{"id": i, "bbox": [10, 8, 20, 16], "iscrowd": 0, **row} for i, row in enumerate(outlines)]
    categories = [{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


FLAT = [[value for point in SQUARE for value in point]]
RUNS = [int(v) for v in np.diff(np.flatnonzero(np.diff(np.pad(expected().T.ravel().astype(int), 1))))]
LEADING = int(np.flatnonzero(expected().T.ravel())[0])
COUNTS = [LEADING, *RUNS, HEIGHT * WIDTH - LEADING - sum(RUNS)]


def compressed(counts: list[int]) -> str:
    """COCO's own way to write runs, from its description."""
    text = ""
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


def test_runs_are_decompressed() -> None:
    assert decode_runs(compressed(COUNTS)) == COUNTS


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations/instances_default.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("labels.json", "."),
    ],
)
@pytest.mark.parametrize(
    "segmentation",
    [
        FLAT,
        {"size": [HEIGHT, WIDTH], "counts": COUNTS},
        {"size": [HEIGHT, WIDTH], "counts": compressed(COUNTS)},
    ],
    ids=["polygon", "runs", "compressed"],
)
def test_coco_outlines_are_masks(tmp_path: Path, file: str, images: str, segmentation: Any) -> None:
    folder = tmp_path / "part"
    names = [path.name for path in photographs(folder / images, 5)]
    coco(
        folder / file,
        names,
        [
            *({"image_id": i, "category_id": 1, "segmentation": segmentation} for i in range(2)),
            {"image_id": 2, "category_id": 2, "segmentation": segmentation},
        ],
    )
    product = load_product(folder, size=32)
    assert product.layout is Layout.COCO
    found = masks(product)
    assert {name: len(every) for name, every in found.items()} == {"dent": 1, "scratch": 2}
    assert all((mask == expected()).all() for every in found.values() for mask in every)
    assert len(product.normals) == 2
    assert "2 images without annotations are taken as normal" in product.report.notes


def test_coco_boxes_alone_are_refused_with_the_way_on(tmp_path: Path) -> None:
    names = [path.name for path in photographs(tmp_path / "images", 3)]
    boxes = [{"image_id": 0, "category_id": 1, "segmentation": []}, {"image_id": 1, "category_id": 2}]
    coco(tmp_path / "annotations/a.json", names, boxes)
    report = inspect_product(tmp_path, size=32)
    (error,) = [p for p in report.errors if p.kind is Kind.BOXES]
    assert "all 2 marks are boxes or lines" in error.message


BAD = [
    {"image_id": 0, "category_id": 1, "segmentation": [[1, 2, 3]]},
    {"image_id": 0, "category_id": 1, "segmentation": [["a", "b", "c", "d", "e", "f"]]},
    {"image_id": 0, "category_id": 1, "segmentation": {"size": [10**9, 10**9], "counts": [10**18]}},
    {"image_id": 0, "category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": "\x7f\x7f"}},
    {"image_id": 0, "category_id": 1, "segmentation": [[float("1e300"), 1, 2, 3, 4, 5]]},
    {"category_id": 1},
]


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_annotation_is_one_warning(tmp_path: Path, bad: dict[str, Any]) -> None:
    names = [path.name for path in photographs(tmp_path / "images", 4)]
    good = {"image_id": 1, "category_id": 1, "segmentation": FLAT}
    coco(tmp_path / "a.json", [*names, "../../gone.png"], [good, bad])
    report = inspect_product(tmp_path, size=32)
    assert report.usable
    assert len([p for p in report.warnings if p.kind is Kind.BROKEN_LABELS]) == 1
    assert any("gone.png, which is not there" in p.message for p in report.warnings)
    assert report.normals.found == (2 if "image_id" in bad else 3)  # what is marked badly is no normal


# --- YOLO ---


def yolo_line(number: int = 0, points: list[list[float]] = SQUARE) -> str:
    return " ".join([str(number), *(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)])


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), ("images/train", "labels/train"), ("train/images", "train/labels")],
)
@pytest.mark.parametrize("names", ["names: [scratch, dent]", "names:\n  0: scratch\n  1: dent"])
def test_yolo_outlines_are_masks(tmp_path: Path, images: str, labels: str, names: str) -> None:
    folder = tmp_path / "part"
    for index, image in enumerate(photographs(folder / images, 5)):
        lines = {0: yolo_line(), 1: yolo_line(), 2: yolo_line(1), 3: ""}
        if index in lines:
            save(photograph(1), folder / labels / "x.png").unlink()
            (folder / labels / f"{image.stem}.txt").write_text(lines[index] + "\n")
    (folder / "data.yaml").write_text(f"nc: 2\n{names}\n")
    product = load_product(folder, size=32)
    assert product.layout is Layout.YOLO
    found = masks(product)
    assert {name: len(every) for name, every in found.items()} == {"dent": 1, "scratch": 2}
    assert all((mask == expected()).mean() > 0.99 for every in found.values() for mask in every)
    assert len(product.normals) == 2


def test_yolo_boxes_alone_are_refused_with_the_way_on(tmp_path: Path) -> None:
    for image in photographs(tmp_path / "images", 2):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{image.stem}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    report = inspect_product(tmp_path, size=32)
    assert [p for p in report.errors if p.kind is Kind.BOXES and "way on" not in p.message]
    assert "export COCO, YOLO segmentation or mask pictures" in report.to_text()


# --- others ---


@pytest.mark.parametrize(
    ("name", "content", "whose"),
    [
        ("Annotations/000.xml", "<annotation><object/></annotation>", "Pascal VOC's XML"),
        ("annotations.xml", "<?xml version='1.0'?><annotations></annotations>", "CVAT's XML"),
        ("ds/ann/000.png.json", '{"objects": [{"classTitle": "x"}]}', "Supervisely's JSON"),
        ("via.json", '{"_via_settings": {}}', "VGG Image Annotator's JSON"),
        ("export.json", '[{"id": 1, "annotations": [{"result": []}]}]', "Label Studio's JSON"),
    ],
)
def test_labels_of_other_tools_are_named_with_the_way_on(
    tmp_path: Path, name: str, content: str, whose: str
) -> None:
    photographs(tmp_path / "JPEGImages", 2)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        choose_layout(tmp_path, None)
    way = "not read. A mask is needed for each"
    if whose in ("CVAT's XML", "Pascal VOC's XML"):
        way = f"imported first: seas-export data import {tmp_path} --product NAME --out photos"
    assert f"{name} is {whose}, which is {way}" in str(caught.value)


def test_photographs_in_no_layout_are_told_how_to_be_sorted(tmp_path: Path) -> None:
    photographs(tmp_path, 2)
    with pytest.raises(UserError, match="Sort the photographs: normal ones into train/good"):
        choose_layout(tmp_path, None)


def test_webp_is_read(tmp_path: Path) -> None:
    photographs(tmp_path / "train/good", 2, suffix=".webp")
    for image in photographs(tmp_path / "test/crack", 2, 10, ".WEBP"):
        save(square_mask(), tmp_path / "ground_truth/crack" / f"{image.stem}.webp", lossless=True)
    product = load_product(tmp_path, size=32)
    assert (len(product.normals), len(product.defects[0].train)) == (2, 1)


def test_a_folder_of_labelme_folders_is_a_folder_of_products(tmp_path: Path) -> None:
    for name in ("bracket", "clip"):
        for image in photographs(tmp_path / name, 2):
            labelme(image, [polygon()])
    assert products_in(tmp_path) == ["bracket", "clip"]
    with pytest.raises(UserError, match="found a folder of products: bracket, clip"):
        choose_layout(tmp_path, None)


def test_heic_is_read_with_its_extra(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra `heic` is not installed")
    for image in photographs(tmp_path / "train/good", 2):
        pillow_heif.from_pillow(Image.open(image)).save(image.with_suffix(".HEIC"))
        image.unlink()
    for image in photographs(tmp_path / "test/crack", 1, 10):
        pillow_heif.from_pillow(Image.open(image)).save(image.with_suffix(".heic"))
        image.unlink()
        save(square_mask(), tmp_path / "ground_truth/crack" / image.name)
    product = load_product(tmp_path, size=32)
    assert (len(product.normals), len(product.defects[0].train)) == (2, 1)
    assert product.image(product.normals[0]).std() > 5


@pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is not None, reason="the extra `heic` is installed"
)
@pytest.mark.parametrize("name", ["phone.HEIC", "phone.jpg"])
def test_heic_without_its_extra_is_told_with_the_way_on(tmp_path: Path, name: str) -> None:
    photographs(tmp_path / "train/good", 2)
    for image in photographs(tmp_path / "test/crack", 1, 10):
        save(square_mask(), tmp_path / "ground_truth/crack" / image.name)
    (tmp_path / "train/good" / name).write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic")
    report = inspect_product(tmp_path, size=32)
    assert report.usable
    assert any("extra `heic`" in problem.message for problem in report.warnings)
