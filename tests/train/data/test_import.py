"""Products laid out from other tools' labels: every reader, and every writer of `convert` read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seas_runtime import convert_dataset
from seas_train.data import Layout, load_product
from seas_train.data.importing import ClassColours, Source
from tests.runtime.finished_sets import tree, write_finished
from tests.train.data.label_sets import (
    CVAT_SHAPES,
    HEIGHT,
    WIDTH,
    bring_in,
    cvat,
    photographs,
    product_masks,
    square,
    voc_palette,
    voc_xml,
    weak_in,
)
from tests.train.data.product_folders import SIZE, photograph, save, square_mask, write_visa

BOX = square(10, 8, 30, 24)

# --- there and back ---


@pytest.mark.parametrize(
    ("to", "kind"),
    [
        ("coco", Source.COCO),
        ("yolo-seg", Source.YOLO),
        ("labelme", Source.LABELME),
        ("cvat", Source.CVAT),
        ("mvtec", Source.FOLDERS),
    ],
)
def test_what_convert_writes_is_read_back(tmp_path: Path, to: str, kind: Source) -> None:
    masks = write_finished(tmp_path / "set", count=6, weak=[("dent", 2)], kinds=("L", "RGB", "I;16"))
    convert_dataset(tmp_path / "set", to, tmp_path / "out")
    report = bring_in(tmp_path / "out", tmp_path / "photos")
    assert (report.kind, report.problems) == (kind.value, ())
    found = product_masks(tmp_path / "photos/part")
    assert {name: len(every) for name, every in found.items()} == {"dent": 6, "scratch": 6}
    for name, mask in masks.items():
        defect, _, number = name.partition("_")
        back = found[defect][number if to == "mvtec" else name]
        # A bridge to a hole is an edge in YOLO's polygons.
        assert (back ^ mask).sum() <= (3 if to == "yolo-seg" else 0)
    assert weak_in(tmp_path / "photos/part") == {"000002" if to == "mvtec" else "dent_000002"}
    assert len(load_product(tmp_path / "photos/part", size=32).normals) >= 4


def test_boxes_of_yolo_are_read_back_as_weak_boxes(tmp_path: Path) -> None:
    masks = write_finished(tmp_path / "set", ("dent", "good"), count=4, weak=[("dent", i) for i in range(4)])
    convert_dataset(tmp_path / "set", "yolo-det", tmp_path / "out")
    report = bring_in(tmp_path / "out", tmp_path / "photos")
    assert report.weak == {"dent": 4}
    found = product_masks(tmp_path / "photos/part")["dent"]
    assert all((found[name] == mask).all() for name, mask in masks.items())


def test_what_was_imported_is_a_product_that_trains_and_is_read_again(tmp_path: Path) -> None:
    for image in photographs(tmp_path / "src/images", 3):
        cvat(tmp_path / "src", {image.name: CVAT_SHAPES["box"] for image in [image]}, root=image.stem)
    photographs(tmp_path / "src/images", 2, 10)
    cvat(tmp_path / "src", {"010.png": "", "011.png": ""}, root="rest")
    bring_in(tmp_path / "src", tmp_path / "photos")
    product = load_product(tmp_path / "photos/part", size=32)
    assert product.layout is Layout.MVTEC
    assert (len(product.normals), [defect.name for defect in product.defects]) == (2, ["dent"])
    assert "3 masks are boxes around defects, not their outlines (weak.json)" in product.report.notes
    again = bring_in(tmp_path / "photos/part", tmp_path / "again")
    assert (again.kind, again.weak) == ("folders", {"dent": 3})
    assert product_masks(tmp_path / "again/part").keys() == {"dent"}


# --- pictures ---


def test_pictures_are_the_same_bytes_linked_or_copied(tmp_path: Path) -> None:
    images = photographs(tmp_path / "src/images", 2, suffix=".JPG")
    cvat(tmp_path / "src", {images[0].name: CVAT_SHAPES["polygon"], images[1].name: ""})
    before = tree(tmp_path / "src")
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert (report.linked, report.copied) == (2, 0)
    assert (tmp_path / "photos/part/test/dent/000.JPG").samefile(images[0])
    copied = bring_in(tmp_path / "src", tmp_path / "photos", copy=True, force=True)
    assert (copied.linked, copied.copied) == (0, 2)
    assert (tmp_path / "photos/part/test/dent/000.JPG").read_bytes() == images[0].read_bytes()
    assert tree(tmp_path / "src") == before
    told = json.loads((tmp_path / "photos/part/import.json").read_text())
    assert told["pictures"] == {"test/dent/000.JPG": "images/000.JPG", "train/good/001.JPG": "images/001.JPG"}


@pytest.mark.parametrize("upright", [True, False])
def test_labels_of_a_turned_photograph_are_turned_once(tmp_path: Path, upright: bool) -> None:
    """Orientation 6: the stored picture is turned by a quarter, clockwise, to be upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = save(photograph(1), tmp_path / "src/a.jpg", exif=exif)
    stored = square(10, 8, 30, 24)
    seen = np.rot90(stored, -1) if upright else stored
    ys, xs = np.nonzero(seen)
    points = [[xs.min(), ys.min()], [xs.max(), ys.min()], [xs.max(), ys.max()], [xs.min(), ys.max()]]
    shape = {"label": "dent", "points": np.array(points).tolist(), "shape_type": "polygon"}
    size = {"imageHeight": seen.shape[0], "imageWidth": seen.shape[1]}
    image.with_suffix(".json").write_text(json.dumps({"shapes": [shape], "imagePath": "a.jpg", **size}))
    bring_in(tmp_path / "src", tmp_path / "photos")
    mask = product_masks(tmp_path / "photos/part")["dent"]["a"]
    assert (mask == np.rot90(stored, -1)).all()


def test_pictures_of_one_name_in_several_folders_get_names_of_their_own(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for image in photographs(tmp_path / f"src/images/{part}", 2):
            (tmp_path / f"src/labels/{part}").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"src/labels/{part}/{image.stem}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    bring_in(tmp_path / "src", tmp_path / "photos")
    names = sorted(path.name for path in (tmp_path / "photos/part/test/class 0").iterdir())
    assert names == ["000.png", "000_2.png", "001.png", "001_2.png"]


# --- classes ---


def labelled(folder: Path, *labels: str) -> None:
    """A photograph with a polygon for each label, beside one another."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.png")))
    image = save(photograph(number), folder / f"{number:03}.png")
    shapes = [
        {"label": label, "points": [[8 * i, 2], [8 * i + 5, 2], [8 * i + 5, 7]], "shape_type": "polygon"}
        for i, label in enumerate(labels)
    ]
    content = {"shapes": shapes, "imagePath": image.name, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    image.with_suffix(".json").write_text(json.dumps(content))


def test_classes_are_renamed_merged_made_normal_and_left_out(tmp_path: Path) -> None:
    src = tmp_path / "src"
    for labels in (["crack"], ["fissure", "Crack"], ["dust"], ["crack", "dust"], ["hair"], ["crack", "hole"]):
        labelled(src, *labels)
    options = {"renamed": ["crack=fissure", "dust=good", "hair="]}
    report = bring_in(src, tmp_path / "photos", **options)
    assert report.defects == {"combined": 1, "fissure": 3}
    assert report.normals == 1
    (problem,) = report.problems
    assert "only has hair, which --map leaves out" in problem.message
    masks = product_masks(tmp_path / "photos/part")
    assert not masks["fissure"]["003"][:, 8:].any()  # dust is no part of the crack's mask
    assert masks["combined"]["005"][:, 8:].any()


def test_labels_that_differ_in_their_case_alone_are_one_defect(tmp_path: Path) -> None:
    for label in ("Crack", "crack", "CRACK"):
        labelled(tmp_path / "src", label)
    assert bring_in(tmp_path / "src", tmp_path / "photos").defects == {"Crack": 3}


def test_labels_keep_their_spelling_where_folders_can_have_it(tmp_path: Path) -> None:
    for label in ("Kratzer (groß)", "a/b", "con", "x:y"):
        labelled(tmp_path / "src", label)
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert set(report.defects) == {"Kratzer (groß)", "a_b", "con_defect", "x_y"}


# --- CVAT ---


@pytest.mark.parametrize("shape", CVAT_SHAPES)
def test_cvats_shapes_are_masks(tmp_path: Path, shape: str) -> None:
    first, second = photographs(tmp_path / "src/images", 2)
    cvat(tmp_path / "src", {first.name: CVAT_SHAPES[shape], f"sub/{second.name}": ""})
    report = bring_in(tmp_path / "src", tmp_path / "photos", kind=Source.CVAT)
    assert (report.defects, report.normals) == ({"dent": 1}, 1)
    mask = product_masks(tmp_path / "photos/part")["dent"]["000"]
    if shape == "ellipse":
        ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        inside = ((xs - 20) / 10) ** 2 + ((ys - 16) / 6) ** 2 <= 1
        assert (inside & mask).sum() / (inside | mask).sum() > 0.85
    else:
        assert (mask == BOX).all()
    assert weak_in(tmp_path / "photos/part") == ({"000"} if shape == "box" else set())


def test_a_turned_box_of_cvat_is_turned(tmp_path: Path) -> None:
    (image,) = photographs(tmp_path / "src/images", 1)
    box = CVAT_SHAPES["box"].replace('z_order="4"', 'z_order="4" rotation="90.0"')
    cvat(tmp_path / "src", {image.name: box})
    bring_in(tmp_path / "src", tmp_path / "photos")
    mask = product_masks(tmp_path / "photos/part")["dent"]["000"]
    ys, xs = np.nonzero(mask)
    assert abs((xs.max() - xs.min()) - 16) <= 1
    assert abs((ys.max() - ys.min()) - 20) <= 1
    assert weak_in(tmp_path / "photos/part") == {"000"}


def test_lines_and_tags_of_cvat_are_told(tmp_path: Path) -> None:
    images = photographs(tmp_path / "src/images", 4)
    line = '<polyline label="dent" points="1,1;5,5" occluded="0"></polyline>'
    shapes = [
        CVAT_SHAPES["mask"] + line,
        line,
        '<tag label="OK" source="manual"></tag>',
        '<tag label="scrap" source="manual"></tag>',
    ]
    cvat(tmp_path / "src", {image.name: shape for image, shape in zip(images, shapes, strict=True)})
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert (report.defects, report.normals) == ({"dent": 1}, 1)
    told = {problem.path.name: problem.message for problem in report.problems}
    assert told["000.png"] == "1 lines, points or tags are not taken"
    assert set(told) == {"000.png", "001.png", "003.png"}
    assert all("no outline; left out" in told[name] for name in ("001.png", "003.png"))


# --- masks of class colours ---

DENT, HOLE, GROUND = (128, 0, 0), (0, 200, 10), (0, 128, 0)


def coloured(*parts: tuple[tuple[int, int, int], np.ndarray], ground: tuple[int, int, int]) -> Image.Image:
    values = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
    for colour, where in parts:
        values[where] = colour
    return Image.fromarray(values)


def mask_archive(folder: Path, ground: tuple[int, int, int] = (0, 0, 0), label_map: bool = True) -> None:
    """CVAT's "Segmentation mask 1.1" of four photographs, the last without anything on it."""
    images = photographs(folder / "JPEGImages", 4, suffix=".jpg")
    other = square(35, 2, 40, 6)
    save(coloured((DENT, BOX), ground=ground), folder / "SegmentationClass/000.png")
    save(coloured((HOLE, BOX), ground=ground), folder / "SegmentationClass/001.png")
    save(coloured((DENT, BOX), (HOLE, other), ground=ground), folder / "SegmentationClass/002.png")
    for name in ("000", "001", "002"):
        save(coloured((DENT, BOX), ground=ground), folder / f"SegmentationObject/{name}.png")
    listed = folder / "ImageSets/Segmentation/default.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("".join(f"{image.stem}\n" for image in images))
    if label_map:
        rows = {"background": ground, "dent": DENT, "hole": HOLE}
        text = "".join(f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in rows.items())
        (folder / "labelmap.txt").write_text(f"# label:color_rgb:parts:actions\n{text}")


@pytest.mark.parametrize("ground", [(0, 0, 0), GROUND])
@pytest.mark.parametrize("kind", [Source.AUTO, Source.CVAT, Source.VOC])
def test_masks_of_class_colours_are_named_by_the_label_map(tmp_path: Path, ground: Any, kind: Source) -> None:
    mask_archive(tmp_path / "src", ground)
    report = bring_in(tmp_path / "src", tmp_path / "photos", kind=kind)
    assert (report.defects, report.normals) == ({"combined": 1, "dent": 1, "hole": 1}, 1)
    found = product_masks(tmp_path / "photos/part")
    assert (found["dent"]["000"] == BOX).all()
    assert (found["combined"]["002"] == (BOX | square(35, 2, 40, 6))).all()


def test_without_a_label_map_colours_are_named_by_themselves_and_can_be_mapped(tmp_path: Path) -> None:
    mask_archive(tmp_path / "src", label_map=False)
    options = {"renamed": ["colour 128,0,0=dent", "colour 0,200,10="]}
    report = bring_in(tmp_path / "src", tmp_path / "photos", **options)
    assert report.defects == {"dent": 2}


def test_a_background_that_no_file_names_is_asked_for(tmp_path: Path) -> None:
    mask_archive(tmp_path / "src", GROUND, label_map=False)
    with pytest.raises(Exception, match="--background R,G,B") as caught:
        bring_in(tmp_path / "src", tmp_path / "photos")
    assert "(0,128,0)" in str(caught.value)
    colours = ClassColours(background=("0,128,0",), ignore=("0,200,10",))
    report = bring_in(tmp_path / "src", tmp_path / "photos", colours=colours)
    assert report.defects == {"colour 128,0,0": 2}
    assert report.normals == 2  # the hole is ignored, so that its photograph has no defect


def test_classes_of_the_label_map_are_ignored_by_name(tmp_path: Path) -> None:
    mask_archive(tmp_path / "src")
    report = bring_in(tmp_path / "src", tmp_path / "photos", colours=ClassColours(ignore=("Hole",)))
    assert report.defects == {"dent": 2}


def test_a_label_map_without_colours_means_vocs_in_its_order(tmp_path: Path) -> None:
    """As Datumaro writes it of classes that have no colours."""
    photographs(tmp_path / "src/JPEGImages", 2, suffix=".jpg")
    save(coloured(((128, 0, 0), BOX), ground=(0, 0, 0)), tmp_path / "src/SegmentationClass/000.png")
    save(coloured(((0, 128, 0), BOX), ground=(0, 0, 0)), tmp_path / "src/SegmentationClass/001.png")
    (tmp_path / "src/labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:::\ndent:::\nhole:::\n"
    )
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert report.defects == {"dent": 1, "hole": 1}
    assert (product_masks(report.path)["hole"]["001"] == BOX).all()


@pytest.mark.parametrize("names", [None, "_background_\ndent\n", "__ignore__\n_background_\ndent\n"])
def test_palette_masks_of_voc(tmp_path: Path, names: str | None) -> None:
    """Index 0 is background and 255 the border that is ignored, as in VOC's own masks."""
    indices = np.where(BOX, 1, 0)
    indices[8, 10:30] = 255
    photographs(tmp_path / "src/JPEGImages", 1, suffix=".jpg")
    save(voc_palette(indices), tmp_path / "src/SegmentationClass/000.png")
    if names is not None:
        (tmp_path / "src/class_names.txt").write_text(names)
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert report.defects == {"class 1" if names is None else "dent": 1}
    (mask,) = product_masks(tmp_path / "photos/part").popitem()[1].values()
    assert (mask == square(10, 9, 30, 24)).all()


def test_colours_that_the_label_map_lacks_are_told(tmp_path: Path) -> None:
    mask_archive(tmp_path / "src")
    save(coloured(((9, 9, 9), BOX), ground=(0, 0, 0)), tmp_path / "src/SegmentationClass/000.png")
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert "has (9,9,9), which labelmap.txt does not name; left out" in [p.message for p in report.problems]
    assert "000.jpg" not in "".join(report.pictures.values())  # it is no normal, though ImageSets lists it
    assert report.normals == 1


# --- Pascal VOC's boxes ---


def test_boxes_of_voc_are_weak_masks_with_both_corners_in_them(tmp_path: Path) -> None:
    images = photographs(tmp_path / "src/JPEGImages", 3, suffix=".jpg")
    objects = {0: [("dent", 11, 9, 30, 24)], 1: [("dent", 11, 9, 30, 24), ("hole", 1, 1, 2, 2)], 2: []}
    for number, image in enumerate(images):
        voc_xml(tmp_path / f"src/Annotations/{image.stem}.xml", image.name, objects[number])
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert (report.kind, report.normals, report.weak) == ("voc", 1, {"combined": 1, "dent": 1})
    found = product_masks(tmp_path / "photos/part")
    assert (found["dent"]["000"] == BOX).all()
    assert (found["combined"]["001"] == (BOX | square(0, 0, 2, 2))).all()


def test_corners_of_voc_with_a_point_are_measured_from_the_edge(tmp_path: Path) -> None:
    """As CVAT's and Datumaro's exports have them."""
    (image,) = photographs(tmp_path / "src/JPEGImages", 1, suffix=".jpg")
    file = tmp_path / "src/Annotations/000.xml"
    voc_xml(file, image.name, [("dent", 10, 8, 30, 24)])
    text = file.read_text()
    for number in (10, 8, 30, 24):
        text = text.replace(f">{number}<", f">{number}.0<")
    file.write_text(text)
    bring_in(tmp_path / "src", tmp_path / "photos")
    assert (product_masks(tmp_path / "photos/part")["dent"]["000"] == BOX).all()


# --- boxes of the other tools ---


def test_boxes_of_labelme_and_coco_are_weak_masks(tmp_path: Path) -> None:
    (image,) = photographs(tmp_path / "labelme", 1)
    shape = {"label": "dent", "points": [[10, 8], [30, 24]], "shape_type": "rectangle"}
    content = {"shapes": [shape], "imagePath": image.name, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    image.with_suffix(".json").write_text(json.dumps(content))
    (image,) = photographs(tmp_path / "coco/images", 1)
    rows = {"images": [{"id": 7, "file_name": image.name, "width": WIDTH, "height": HEIGHT}]}
    rows["annotations"] = [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 8, 20, 16]}]
    rows["categories"] = [{"id": 3, "name": "dent"}]
    (tmp_path / "coco/annotations").mkdir()
    (tmp_path / "coco/annotations/instances_default.json").write_text(json.dumps(rows))
    for kind in ("labelme", "coco"):
        report = bring_in(tmp_path / kind, tmp_path / "photos" / kind)
        assert (report.kind, report.weak) == (kind, {"dent": 1})
        assert (product_masks(report.path)["dent"]["000"] == BOX).all()


def test_darknets_folder_of_cvats_yolo_1_1(tmp_path: Path) -> None:
    src = tmp_path / "src"
    images = [*photographs(src / "obj_train_data", 1), *photographs(src / "obj_Validation_data", 1, 1)]
    for image in images:
        image.with_suffix(".txt").write_text(f"1 {20 / WIDTH} {16 / HEIGHT} {20 / WIDTH} {16 / HEIGHT}\n")
    (src / "obj.names").write_text("hole\ndent\n")
    (src / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    (src / "train.txt").write_text("data/obj_train_data/000.png\ndata/obj_train_data/001.png\n")
    report = bring_in(src, tmp_path / "photos")
    assert report.weak == {"dent": 2}
    assert (product_masks(report.path)["dent"]["001"] == BOX).all()


# --- folders ---


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("0", "1"), ("OK", "NG")])
@pytest.mark.parametrize("masks", ["masks", "ground_truth/{bad}"])
def test_folders_of_good_and_bad(tmp_path: Path, good: str, bad: str, masks: str) -> None:
    photographs(tmp_path / "src" / good, 3)
    for image in photographs(tmp_path / "src" / bad, 2, 10):
        save(square_mask(), tmp_path / "src" / masks.format(bad=bad) / image.name)
    report = bring_in(tmp_path / "src", tmp_path / "photos", renamed=[f"{bad}=dent"])
    assert (report.kind, report.normals, report.defects) == ("folders", 3, {"dent": 2})
    assert all(
        ((np.asarray(square_mask()) > 0) == m).all() for m in product_masks(report.path)["dent"].values()
    )


def test_a_published_layout_is_laid_out_as_mvtec_does(tmp_path: Path) -> None:
    write_visa(tmp_path, ["melt", "bent,melt", "melt"])
    report = bring_in(tmp_path / "candle", tmp_path / "photos")
    assert report.defects == {"combined": 1, "melt": 2}
    assert (
        len(list((report.path / "train/good").iterdir())),
        len(list((report.path / "test/good").iterdir())),
    ) == (2, 2)
    assert Image.open(report.path / "test/melt/000.JPG").size == SIZE
