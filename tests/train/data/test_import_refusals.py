"""Labels that are broken or made to harm: an error or a line of the report, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data.importing import ClassColours, Source
from seas_train.data.problems import Kind
from tests.runtime.finished_sets import tree
from tests.train.data.label_sets import (
    CVAT_SHAPES,
    HEIGHT,
    WIDTH,
    bring_in,
    cvat,
    photographs,
    voc_xml,
)
from tests.train.data.product_folders import photograph, png_header, save, square_mask

BOMB = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "boom"}">' for i in range(12))


def good(folder: Path) -> None:
    """Two photographs that can be taken, a dent and a normal."""
    images = photographs(folder / "images", 2, 90)
    cvat(folder, {images[0].name: CVAT_SHAPES["mask"], images[1].name: ""}, root="good")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("tag", ["annotations", "annotation"])
def test_entities_are_never_expanded(tmp_path: Path, encoding: str, tag: str) -> None:
    photographs(tmp_path / "src/images", 1)
    body = (
        '<image name="&a11;" width="9" height="9"/>' if tag == "annotations" else "<filename>&a11;</filename>"
    )
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [{BOMB}]><{tag}>{body}</{tag}>'
    (tmp_path / "src/a.xml").write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match="has a document type, which files of labels do not have"):
        bring_in(tmp_path / "src", tmp_path / "photos")
    assert not (tmp_path / "photos/part").exists()


@pytest.mark.parametrize(
    "shape",
    [
        '<polygon label="dent" points="1,1;2"></polygon>',
        '<polygon label="dent" points="1,1;nan,2;3,3"></polygon>',
        '<polygon label="dent" points="1,1;1e300,2;3,3"></polygon>',
        '<polygon points="1,1;2,2;3,1"></polygon>',
        '<mask label="dent" rle="0, 99999999999" left="0" top="0" width="9" height="9"></mask>',
        '<mask label="dent" rle="81" left="45" top="0" width="9" height="9"></mask>',
        '<mask label="dent" rle="81" left="-5" top="0" width="9" height="9"></mask>',
        '<mask label="dent" rle="" left="0" top="0" width="9" height="9"></mask>',
        '<box label="dent" xtl="a" ytl="0" xbr="9" ybr="9"></box>',
        '<ellipse label="dent" cx="inf" cy="0" rx="9" ry="9"></ellipse>',
    ],
)
def test_a_bad_shape_of_cvat_is_one_line_and_makes_no_normal(tmp_path: Path, shape: str) -> None:
    good(tmp_path / "src")
    both, alone = photographs(tmp_path / "src/images", 2)
    cvat(tmp_path / "src", {both.name: CVAT_SHAPES["polygon"] + shape, alone.name: shape})
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert [problem.kind for problem in report.problems] == [Kind.BROKEN_LABELS] * 2
    assert report.defects == {"dent": 2}
    assert report.normals == 1


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "C:\\\\x\\\\gone.png", "", "images/gone.png"]
)
def test_names_that_lead_elsewhere_are_not_followed(tmp_path: Path, name: str) -> None:
    good(tmp_path / "src")
    save(photograph(1), tmp_path / "passwd.png")
    cvat(tmp_path / "src", {name: CVAT_SHAPES["mask"]})
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert [problem.kind for problem in report.problems] == [Kind.MISSING_FILE]
    assert set(report.pictures.values()) == {"images/090.png", "images/091.png"}


def spoiled_file(folder: Path) -> None:
    (folder / "images/000.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much")


def bomb(folder: Path) -> None:
    (folder / "images/000.png").write_bytes(png_header(60_000, 60_000))


def empty(folder: Path) -> None:
    (folder / "images/000.png").write_bytes(b"")


def other_size(folder: Path) -> None:
    save(photograph(1, (90, 20)), folder / "images/000.png")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (spoiled_file, Kind.UNREADABLE),
        (bomb, Kind.TOO_LARGE),
        (empty, Kind.UNREADABLE),
        (other_size, Kind.SIZES_DIFFER),
    ],
)
def test_a_bad_photograph_is_left_out_and_told(
    tmp_path: Path, spoil: Callable[[Path], None], kind: Kind
) -> None:
    good(tmp_path / "src")
    (image,) = photographs(tmp_path / "src/images", 1)
    cvat(tmp_path / "src", {image.name: CVAT_SHAPES["mask"]})
    spoil(tmp_path / "src")
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert [problem.kind for problem in report.problems] == [kind]
    assert "000" not in "".join(report.pictures)


@pytest.mark.parametrize("size", ["0", "-4", "99999999999", "x"])
def test_sizes_that_no_picture_has_are_told(tmp_path: Path, size: str) -> None:
    good(tmp_path / "src")
    (image,) = photographs(tmp_path / "src/images", 1)
    file = cvat(tmp_path / "src", {image.name: CVAT_SHAPES["polygon"]})
    file.write_text(file.read_text().replace(f'width="{WIDTH}"', f'width="{size}"'))
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert [problem.kind for problem in report.problems] == [Kind.BROKEN_LABELS]


BROKEN: dict[str, Any] = {
    "cvat": ("a.xml", "<annotations><image name='000.png'"),
    "cvat's tracks": ("a.xml", "<annotations><track id='0' label='dent'></track></annotations>"),
    "coco": ("a.json", '{"images": [{}], "annotations": [{}]}'),
    "voc": ("a.xml", "<annotation><filename>000.png</filename></annotation>"),
    "labelme": ("000.json", '{"shapes": [{"label": 3}], "imagePath": "000.png"}'),
    "labelmap": ("labelmap.txt", "dent=red"),
    "classes": ("class_names.txt", b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_leave_nothing_behind(tmp_path: Path, what: str) -> None:
    name, content = BROKEN[what]
    photographs(tmp_path / "src", 1)
    if name.endswith(".txt"):
        save(square_mask(), tmp_path / "src/SegmentationClass/000.png")
    (tmp_path / "src" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = tree(tmp_path)
    with pytest.raises(UserError) as caught:
        bring_in(tmp_path / "src", tmp_path / "photos")
    assert name in str(caught.value) or "expected photographs with labels" in str(caught.value)
    assert tree(tmp_path) == before
    assert not (tmp_path / "photos/part").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"renamed": ["dent"]}, "--map dent: expected OLD=NEW"),
        ({"renamed": ["dint=x"]}, "expected a class of the labels \\(dent\\), found 'dint'"),
        ({"renamed": ["dent=a", "Dent=b"]}, "expected one new name for 'Dent', found two"),
        ({"kind": Source.COCO}, "--from coco: expected annotations/"),
        ({"kind": Source.VOC}, "--from voc: expected SegmentationClass"),
        ({"colours": ClassColours(ignore=("x",))}, "--background, --ignore: are for masks of class colours"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    (image,) = photographs(tmp_path / "src", 1)
    shape = {"label": "dent", "points": [[1, 1], [9, 1], [9, 9]]}
    content = {"shapes": [shape], "imagePath": image.name, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    image.with_suffix(".json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        bring_in(tmp_path / "src", tmp_path / "photos", **options)
    assert not (tmp_path / "photos/part").exists()


def test_a_colour_that_no_mask_has_is_refused_with_those_there_are(tmp_path: Path) -> None:
    photographs(tmp_path / "src/JPEGImages", 1)
    save(square_mask().convert("RGB"), tmp_path / "src/SegmentationClass/000.png")
    (tmp_path / "src/labelmap.txt").write_text("dent:255,255,255::\n")
    with pytest.raises(UserError, match=r"--ignore void: expected a class of .* \(dent\), or R,G,B"):
        bring_in(tmp_path / "src", tmp_path / "photos", colours=ClassColours(ignore=("void",)))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "con"])
def test_a_product_that_can_be_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    from seas_train.data.importing import import_product

    good(tmp_path / "src")
    with pytest.raises(UserError, match="expected a name that can be a folder"):
        import_product(tmp_path / "src", name, tmp_path / "photos")


def test_what_is_no_folder_of_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="found a file; unpack it if it is an archive"):
        bring_in(tmp_path / "labels.zip", tmp_path / "photos")
    with pytest.raises(UserError, match="found nothing there; check the path"):
        bring_in(tmp_path / "gone", tmp_path / "photos")
    photographs(tmp_path / "src", 2)
    with pytest.raises(UserError, match="Sort the photographs"):
        bring_in(tmp_path / "src", tmp_path / "photos")


def test_a_product_that_was_changed_by_hand_is_kept(tmp_path: Path) -> None:
    good(tmp_path / "src")
    bring_in(tmp_path / "src", tmp_path / "photos")
    save(photograph(7), tmp_path / "photos/part/train/good/mine.png")
    before = tree(tmp_path / "photos")
    for force in (False, True):
        with pytest.raises(UserError, match="files that no command of ours wrote"):
            bring_in(tmp_path / "src", tmp_path / "photos", force=force)
    assert tree(tmp_path / "photos") == before


def test_a_broken_list_of_weak_masks_is_told(tmp_path: Path) -> None:
    good(tmp_path / "src")
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    (report.path / "weak.json").write_text('{"weak": ["x"')
    again = bring_in(report.path, tmp_path / "again")
    assert [problem.kind for problem in again.problems] == [Kind.BROKEN_LABELS]


def test_masks_of_a_photographs_colours_are_told(tmp_path: Path) -> None:
    photographs(tmp_path / "src/JPEGImages", 2)
    save(photograph(3), tmp_path / "src/SegmentationClass/000.png")
    save(Image.new("RGB", (WIDTH, HEIGHT)), tmp_path / "src/SegmentationClass/001.png")
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert (report.defects, report.normals) == ({}, 1)
    assert [problem.kind for problem in report.problems] == [Kind.NOT_A_MASK]


def test_one_broken_file_of_voc_is_one_line_and_makes_no_normal(tmp_path: Path) -> None:
    listed = tmp_path / "src/ImageSets/Main/trainval.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("000 1\n001 -1\n")
    images = photographs(tmp_path / "src", 2)
    voc_xml(tmp_path / "src/000.xml", images[0].name, [("dent", 3, 3, 9, 9)])
    voc_xml(tmp_path / "src/001.xml", images[1].name, [("dent", 3, 3, 9, 9)])
    text = (tmp_path / "src/001.xml").read_text()
    (tmp_path / "src/001.xml").write_text(text.replace("<xmax>9</xmax>", ""))
    report = bring_in(tmp_path / "src", tmp_path / "photos")
    assert (report.defects, report.normals) == ({"dent": 1}, 0)
    assert [problem.kind for problem in report.problems] == [Kind.BROKEN_LABELS]
