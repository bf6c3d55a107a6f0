"""A finished dataset in other tools' formats, read as their documentation says."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from seas_runtime import convert_dataset
from seas_runtime.dataset.formats.convert import Conversion, Format
from seas_runtime.errors import UserError
from seas_runtime.files import locked
from tests.runtime.finished_sets import tree, write_finished

WEAK = [("dent", 2)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    masks = write_finished(
        tmp_path / "set", weak=WEAK, rejected=[("scratch", 3), ("good", 0)], deleted=[("dent", 0)]
    )
    np.savez(tmp_path / "masks.npz", **masks)
    return tmp_path


def masks(place: Path) -> dict[str, np.ndarray]:
    with np.load(place / "masks.npz") as found:
        return {name: found[name] for name in found}


def convert(place: Path, to: str, **options: Any) -> Conversion:
    return convert_dataset(place / "set", to, place / "out", **options)


def drawn(size: tuple[int, int], points: list[Any]) -> np.ndarray:
    image = Image.new("L", size)
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=255, outline=255)
    return np.asarray(image) > 0


NORMALS = {f"good_{index:06d}" for index in range(1, 5)}


@pytest.mark.parametrize("to", list(Format))
def test_pictures_are_unchanged_and_what_was_rejected_is_left_out(place: Path, to: Format) -> None:
    before = tree(place / "set")
    done = convert(place, to.value)
    assert tree(place / "set") == before
    assert done.left_out == {"rejected": 2, "removed by hand": 1}
    pictures = {before[path] for path in before if path.startswith(("test/", "train/"))}
    written = [data for path, data in tree(place / "out").items() if path.endswith(".png")]
    assert pictures <= set(written)
    assert len(pictures) == 12
    assert {name: counts.train + counts.val for name, counts in done.classes.items()} == {
        **{"scratch": 4, "dent": 4},
        "good": 4,
    }
    about = json.loads((place / "out/about.json").read_text())
    assert about["dataset"]["licences"] == ["CreativeML OpenRAIL-M"]


@pytest.mark.parametrize("to", list(Format))
def test_a_conversion_is_the_same_bytes_again(place: Path, to: Format) -> None:
    convert(place, to.value)
    first = tree(place / "out")
    convert(place, to.value, force=True, copy=True)
    assert tree(place / "out") == first


def test_pictures_are_linked_or_copied_and_it_is_said(place: Path) -> None:
    done = convert(place, "coco")
    assert (done.linked, done.copied) == (12, 0)
    image = place / "set/test/dent/000001.png"
    assert any(file.samefile(image) for file in (place / "out").rglob("*.png"))
    copied = convert(place, "coco", copy=True, force=True)
    assert (copied.linked, copied.copied) == (0, 12)
    assert not any(file.samefile(image) for file in (place / "out").rglob("*.png"))


def test_pictures_are_copied_where_links_cannot_be(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert convert(place, "yolo-seg").copied == 12


# --- COCO ---


def coco_masks(out: Path, read: Any) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Every picture's mask, its regions decoded by `read` and joined, and its last annotation."""
    found, last = {}, {}
    for half in ("train", "val"):
        content = json.loads((out / f"annotations/instances_{half}.json").read_text())
        names = {row["id"]: row["name"] for row in content["categories"]}
        images = {row["id"]: row for row in content["images"]}
        for row in images.values():
            assert (out / "images" / half / row["file_name"]).is_file()
            found[Path(row["file_name"]).stem] = np.zeros((row["height"], row["width"]), bool)
        for row in content["annotations"]:
            image = images[row["image_id"]]
            name = Path(image["file_name"]).stem
            assert name.startswith(names[row["category_id"]])
            mask = read(row["segmentation"], image["height"], image["width"])
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1]
            assert (row["bbox"], row["area"], row["iscrowd"]) == (box, mask.sum(), 0)
            assert not (found[name] & mask).any()
            found[name] |= mask
            last[name] = row
    return found, last


def test_coco_is_read_by_pycocotools(place: Path) -> None:
    api = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    pycoco = pytest.importorskip("pycocotools.coco")

    def read(segmentation: Any, height: int, width: int) -> np.ndarray:
        if isinstance(segmentation, list):
            segmentation = api.merge(api.frPyObjects(segmentation, height, width))
        return np.asarray(api.decode(segmentation)) > 0

    convert(place, "coco")
    found, last = coco_masks(place / "out", read)
    expected = masks(place)
    assert found.keys() == expected.keys() | NORMALS
    assert all((found[name] == mask).all() for name, mask in expected.items())
    assert not any(found[name].any() for name in NORMALS)
    assert [name for name, row in last.items() if row.get("weak")] == ["dent_000002"]
    assert any(isinstance(row["segmentation"], dict) for row in last.values())
    loaded = pycoco.COCO(str(place / "out/annotations/instances_train.json"))
    whole = loaded.annToMask(loaded.loadAnns(loaded.getAnnIds())[0])
    assert whole.any()


def test_coco_without_held_out_pictures_is_one_half(place: Path) -> None:
    convert(place, "coco", val=0)
    assert sorted(path.name for path in (place / "out/annotations").iterdir()) == ["instances_train.json"]
    content = json.loads((place / "out/annotations/instances_train.json").read_text())
    assert len(content["images"]) == 12
    assert content["licenses"] == [{"id": 1, "name": "CreativeML OpenRAIL-M", "url": ""}]


# --- YOLO ---


def yolo_rows(out: Path) -> dict[str, tuple[tuple[int, int], list[tuple[int, list[float]]]]]:
    """Every picture's size and rows of class and values, as ultralytics finds and checks them."""
    settings = yaml.safe_load((out / "data.yaml").read_text())
    rows = {}
    for half in ("train", "val"):
        for image in sorted((out / settings[half]).iterdir()):
            label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
            lines = [line.split() for line in label.read_text().splitlines()]
            values = [(int(words[0]), [float(word) for word in words[1:]]) for words in lines]
            assert all(number in settings["names"] for number, _ in values)
            assert all(0 <= value <= 1 for _, row in values for value in row)
            with Image.open(image) as opened:
                rows[image.stem] = (opened.size, values)
    return rows


def test_yolo_segments_are_the_masks(place: Path) -> None:
    convert(place, "yolo-seg")
    rows = yolo_rows(place / "out")
    assert rows.keys() == masks(place).keys() | NORMALS
    assert all(rows[name][1] == [] for name in NORMALS)
    for name, mask in masks(place).items():
        (width, height), segments = rows[name]
        found = np.zeros((height, width), bool)
        for number, values in segments:
            assert ["scratch", "dent"][number] == name.partition("_")[0]
            assert len(values) >= 8
            points = [(x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True)]
            found |= drawn((width, height), points)
        # A bridge to a hole is an edge, which Pillow and OpenCV draw.
        assert (found & ~mask).sum() <= (3 if name[-1] in "13" else 0)
        assert not (mask & ~found).any()
    weak = json.loads((place / "out/weak.json").read_text())["weak"]
    assert list(weak.values()) == ["box"]
    assert [Path(path).stem for path in weak] == ["dent_000002"]
    assert all((place / "out" / path).is_file() for path in weak)


def test_yolo_boxes_enclose_the_regions(place: Path) -> None:
    done = convert(place, "yolo-det")
    rows = yolo_rows(place / "out")
    assert sum(len(values) for _, values in rows.values()) == done.labels
    for name, mask in masks(place).items():
        (width, height), boxes = rows[name]
        found = np.zeros((height, width), bool)
        for _, (x, y, across, down) in boxes:
            left, top = round((x - across / 2) * width), round((y - down / 2) * height)
            box = (slice(top, top + round(down * height)), slice(left, left + round(across * width)))
            assert mask[box].any(axis=0).all()
            assert mask[box].any(axis=1).all()
            found[box] = True
        assert not (mask & ~found).any()


def test_yolos_validation_falls_back_on_training_where_nothing_is_held_out(place: Path) -> None:
    convert(place, "yolo-seg", val=0)
    assert yaml.safe_load((place / "out/data.yaml").read_text())["val"] == "images/train"


def test_the_same_share_of_every_defect_validates(tmp_path: Path) -> None:
    write_finished(tmp_path / "set", count=10)
    done = convert(tmp_path, "yolo-seg")
    assert [(counts.train, counts.val) for counts in done.classes.values()] == [(8, 2)] * 3
    one = tree(tmp_path / "out")
    halves = {path for path in one if path.startswith("images/val/")}
    assert len({Path(path).stem for path in halves}) == 6
    convert(tmp_path, "coco", force=True)
    again = {path.rpartition("/")[2] for path in tree(tmp_path / "out") if path.startswith("images/val/")}
    assert again == {path.rpartition("/")[2] for path in halves}


# --- LabelMe and CVAT ---


def test_labelme_shapes_are_the_masks(place: Path) -> None:
    convert(place, "labelme")
    files = [path for path in (place / "out").glob("[!.]*.json") if path.name != "about.json"]
    assert {path.stem for path in files} == masks(place).keys() | NORMALS
    kinds = set()
    for file in files:
        content = json.loads(file.read_text())
        size = (content["imageWidth"], content["imageHeight"])
        assert Image.open(file.parent / content["imagePath"]).size == size
        found = np.zeros(size[::-1], bool)
        for shape in content["shapes"]:
            kinds.add(shape["shape_type"])
            points = shape["points"]
            if shape["shape_type"] == "mask":
                (x, y), (right, bottom) = points
                part = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
                found[y : bottom + 1, x : right + 1] |= part
            elif shape["shape_type"] == "rectangle":
                assert shape["flags"] == {"weak": True}
                image = Image.new("L", size)
                ImageDraw.Draw(image).rectangle([tuple(map(int, point)) for point in points], fill=255)
                found |= np.asarray(image) > 0
            else:
                found |= drawn(size, points)
        assert (found == masks(place).get(file.stem, False)).all()
    assert kinds == {"polygon", "mask", "rectangle"}


def test_cvats_shapes_are_the_masks(place: Path) -> None:
    convert(place, "cvat")
    root = ElementTree.parse(place / "out/annotations.xml").getroot()
    assert [label.findtext("name") for label in root.iter("label")] == ["scratch", "dent"]
    assert root.findtext("version") == "1.1"
    names, kinds = [], set()
    for image in root.iter("image"):
        name = Path(image.attrib["name"]).stem
        names.append(name)
        size = (int(image.attrib["width"]), int(image.attrib["height"]))
        found = np.zeros(size[::-1], bool)
        for shape in image:
            kinds.add(shape.tag)
            assert shape.attrib["label"] == name.partition("_")[0]
            if shape.tag == "mask":
                left, top, width, height = (int(shape.attrib[k]) for k in ("left", "top", "width", "height"))
                value, part = False, []
                for run in shape.attrib["rle"].split(", "):
                    part += [value] * int(run)
                    value = not value
                found[top : top + height, left : left + width] |= np.reshape(part, (height, width))
            elif shape.tag == "box":
                assert shape.find("attribute[@name='weak']").text == "true"
                corners = [int(float(shape.attrib[name])) for name in ("xtl", "ytl", "xbr", "ybr")]
                found[corners[1] : corners[3], corners[0] : corners[2]] = True
            else:
                pairs = [pair.split(",") for pair in shape.attrib["points"].split(";")]
                found |= drawn(size, [(float(x), float(y)) for x, y in pairs])
        assert (found == masks(place).get(name, False)).all()
    assert names == sorted(masks(place).keys() | NORMALS)
    assert kinds == {"polygon", "mask", "box"}


# --- folders ---


def test_mvtecs_folders_hold_the_masks(place: Path) -> None:
    convert(place, "mvtec")
    for name, mask in masks(place).items():
        defect, _, number = name.partition("_")
        file = place / "out/ground_truth" / defect / f"{number}_mask.png"
        assert ((np.asarray(Image.open(file)) > 0) == mask).all()
        assert (place / "out/test" / defect / f"{number}.png").is_file()
    assert len(list((place / "out/train/good").iterdir())) == 3
    assert len(list((place / "out/test/good").iterdir())) == 1
    weak = json.loads((place / "out/weak.json").read_text())
    assert weak == {"schema": 1, "weak": {"ground_truth/dent/000002_mask.png": "box"}}


def test_anomalibs_folders_have_masks_in_the_pictures_order(place: Path) -> None:
    convert(place, "folder")
    out = place / "out"
    settings = yaml.safe_load((out / "folder.yaml").read_text())
    assert settings["class_path"] == "anomalib.data.Folder"
    folders = {key: out / value for key, value in settings["init_args"].items() if key.endswith("_dir")}
    assert folders.keys() == {"normal_dir", "abnormal_dir", "mask_dir", "normal_test_dir"}
    listed = {key: sorted(path.name for path in folder.iterdir()) for key, folder in folders.items()}
    assert listed["abnormal_dir"] == listed["mask_dir"]
    assert {Path(name).stem for name in listed["abnormal_dir"]} == masks(place).keys()
    assert len(listed["normal_dir"]) == 3
    for name, mask in masks(place).items():
        assert ((np.asarray(Image.open(folders["mask_dir"] / f"{name}.png")) > 0) == mask).all()


def test_anomalibs_folder_needs_normals(tmp_path: Path) -> None:
    write_finished(tmp_path / "set", ("dent",))
    with pytest.raises(UserError, match="expected normals for anomalib's Folder data set"):
        convert(tmp_path, "folder")
    assert not (tmp_path / "out").exists()


def test_image_folders_metadata_name_pictures_and_masks(place: Path) -> None:
    convert(place, "imagefolder")
    rows = []
    for half in ("train", "validation"):
        lines = (place / "out" / half / "metadata.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        assert found[0]["mask_file_name"] is not None
        rows += [(place / "out" / half, row) for row in found]
    expected = masks(place)
    for folder, row in rows:
        name = Path(row["file_name"]).stem
        assert (folder / row["file_name"]).is_file()
        assert row["label"] == name.partition("_")[0]
        assert row["weak"] is (name == "dent_000002")
        if name in NORMALS:
            assert (row["mask_file_name"], row["objects"]) == (None, {"bbox": [], "categories": []})
            continue
        mask = np.asarray(Image.open(folder / row["mask_file_name"])) > 0
        assert (mask == expected[name]).all()
        assert all(mask[y : y + h, x : x + w].any() for x, y, w, h in row["objects"]["bbox"])
    assert {Path(row["file_name"]).stem for _, row in rows} == expected.keys() | NORMALS


# --- what is refused ---


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for folder, found in ((tmp_path / "photos", "no data set"), (tmp_path / "none", "no such folder")):
        with pytest.raises(UserError, match=f"that `seas-export generate` wrote, found {found}"):
            convert_dataset(folder, "coco", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "tfrecord"}, "--to: expected one of mvtec, coco"),
        ({"to": "coco", "val": 1.0}, "--val: expected a share of 0 to 0.9, found 1"),
        ({"to": "coco", "val": float("nan")}, "--val: expected a share"),
    ],
)
def test_options_out_of_range_are_refused(place: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        convert(place, **options)
    assert not (place / "out").exists()


@pytest.mark.parametrize("spoil", ["cut", "text", "size", "path", "absolute"])
@pytest.mark.parametrize("to", ["coco", "folder"])
def test_a_broken_dataset_leaves_nothing_half_written(place: Path, spoil: str, to: str) -> None:
    mask, records = place / "set/ground_truth/scratch/000002_mask.png", place / "set/records.jsonl"
    if spoil == "cut":
        mask.write_bytes(mask.read_bytes()[:60])
    elif spoil == "text":
        mask.write_text("not a picture")
    elif spoil == "size":
        Image.new("L", (9, 9), 255).save(mask)
    else:
        wrong = "../../secret.png" if spoil == "path" else "/etc/passwd"
        records.write_text(records.read_text().replace("test/scratch/000002.png", wrong))
    before = tree(place)
    with pytest.raises(UserError, match=r"scratch/000002_mask|expected the paths of a pair"):
        convert(place, to)
    assert tree(place) == before
    assert sorted(path.name for path in place.iterdir()) == ["masks.npz", "set"]


def test_a_pair_with_an_empty_mask_is_left_out(place: Path) -> None:
    mask = place / "set/ground_truth/scratch/000000_mask.png"
    Image.new("L", Image.open(mask).size).save(mask)
    done = convert(place, "coco")
    assert done.left_out["with an empty mask"] == 1
    assert done.classes["scratch"].train + done.classes["scratch"].val == 3


def test_pairs_whose_files_were_removed_and_that_are_not_there_yet_are_told(place: Path) -> None:
    (place / "set/test/scratch/000000.png").unlink()
    lines = (place / "set/records.jsonl").read_text().splitlines(keepends=True)
    (place / "set/records.jsonl").write_text("".join(lines[:-2]))
    done = convert(place, "labelme")
    assert done.left_out == {"rejected": 2, "removed by hand": 2, "not generated yet": 2}


def test_pairs_that_were_not_chosen_are_left_out(tmp_path: Path) -> None:
    write_finished(tmp_path / "set", ("dent",), 4, beyond=[("dent", 1), ("dent", 2)])
    description = json.loads((tmp_path / "set/dataset.json").read_text()) | {"count": 3, "oversample": 1.3}
    (tmp_path / "set/dataset.json").write_text(json.dumps(description))
    done = convert(tmp_path, "coco")
    assert done.left_out == {"of a lower score": 2}
    assert done.classes["dent"].train + done.classes["dent"].val == 2


def test_a_dataset_of_which_nothing_is_accepted_is_refused(tmp_path: Path) -> None:
    write_finished(tmp_path / "set", ("dent",), 2, rejected=[("dent", 0), ("dent", 1)])
    with pytest.raises(UserError, match="found none that was accepted and is there \\(2 rejected\\)"):
        convert(tmp_path, "coco")


def test_a_dataset_that_is_being_written_is_refused(place: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        locked(place / "set", "taken"),
        pytest.raises(UserError, match="another run is writing this data set"),
    ):
        convert(place, "coco")


def test_an_out_in_the_dataset_or_of_other_files_is_refused(place: Path) -> None:
    with pytest.raises(UserError, match="lies in the data set"):
        convert_dataset(place / "set", "coco", place / "set/coco")
    (place / "out").mkdir()
    (place / "out/NOTES.txt").write_text("mine")
    with pytest.raises(UserError, match="expected an empty folder or a converted data set"):
        convert(place, "coco", force=True)
    (place / "out/NOTES.txt").unlink()
    convert(place, "coco")
    with pytest.raises(UserError, match="there is a converted data set already"):
        convert(place, "yolo-seg")
    convert(place, "yolo-seg", force=True)
    assert not (place / "out/annotations").exists()
