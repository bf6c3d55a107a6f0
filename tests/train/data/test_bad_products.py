"""A table of products that are wrong in one way each; every way has its own clear message."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data import Fit, Kind, Layout, PhotographsConfig, Severity, inspect_product, load_product
from tests.train.data.product_folders import (
    SIZE,
    photograph,
    png_header,
    save,
    square_mask,
    write_mvtec,
    write_mvtec3d,
    write_visa,
)

MASK = "ground_truth/crack/001_mask.png"
IMAGE = "test/crack/001.png"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def mask_with(pixels: tuple[slice, slice], value: int = 255) -> Image.Image:
    values = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    values[pixels] = value
    return Image.fromarray(values)


def no_normals(p: Path) -> None:
    shutil.rmtree(p / "train/good")
    (p / "train/good").mkdir()


def all_normals_broken(p: Path) -> None:
    for path in (p / "train/good").iterdir():
        path.write_bytes(b"")


def all_masks_empty(p: Path) -> None:
    for path in (p / "ground_truth/crack").iterdir():
        save(square_mask(value=0), path)


def flat_16_bit_mask(p: Path) -> None:
    save(Image.fromarray(np.full((SIZE[1], SIZE[0]), 100 * 257, np.uint16)), p / MASK)


def tiff_of_no_known_kind() -> bytes:
    """The header of a TIFF of three channels of floating point."""
    tags = {256: (3, 1, 8), 257: (3, 1, 8), 258: (3, 1, 32), 262: (3, 1, 2), 277: (3, 1, 3), 339: (3, 1, 3)}
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)


# What stops the run: how the product is spoilt, the kind of the error, and words of its message.
STOPS: dict[str, tuple[Callable[[Path], object], Kind, str]] = {
    "no normals": (no_normals, Kind.NO_NORMALS, "expected at least one normal image to train on, found none"),
    "normals all broken": (all_normals_broken, Kind.NO_NORMALS, "found none that is whole of 4"),
    "no train/good": (
        lambda p: shutil.rmtree(p / "train"),
        Kind.FOLDER_MISSING,
        "train/good: expected the folder of normal images",
    ),
    "no test": (
        lambda p: shutil.rmtree(p / "test"),
        Kind.FOLDER_MISSING,
        "test: expected a folder for each defect in it",
    ),
    "no ground_truth": (
        lambda p: shutil.rmtree(p / "ground_truth"),
        Kind.FOLDER_MISSING,
        "ground_truth: expected the masks, a folder for each defect",
    ),
    "no defects": (
        lambda p: [shutil.rmtree(p / half / "crack") for half in ("test", "ground_truth")],
        Kind.NO_DEFECTS,
        "expected at least one defect with an image and its mask, found none",
    ),
    "only empty masks": (all_masks_empty, Kind.NO_DEFECTS, "expected at least one defect"),
}

# What is left out with a warning: how it is spoilt, kind, words of the message, pairs that are left of three.
WARNS: dict[str, tuple[Callable[[Path], object], Kind, str, int]] = {
    "missing mask": (
        lambda p: (p / MASK).unlink(),
        Kind.MISSING_MASK,
        f"{IMAGE}: expected a mask 001_mask.png or 001.png, found none; left out",
        2,
    ),
    "extra mask": (
        lambda p: (p / IMAGE).unlink(),
        Kind.EXTRA_MASK,
        f"{MASK}: no image of crack has this name; left out",
        2,
    ),
    "masks of an unknown defect": (
        lambda p: save(square_mask(), p / "ground_truth/hole/000_mask.png"),
        Kind.EXTRA_MASK,
        "ground_truth/hole: expected images in",
        3,
    ),
    "empty mask": (
        lambda p: save(square_mask(value=0), p / MASK),
        Kind.EMPTY_MASK,
        f"{MASK}: expected pixels other than 0, all are 0; the pair is left out",
        2,
    ),
    "grey mask": (
        lambda p: save(mask_with((slice(None), slice(None)), 100), p / MASK),
        Kind.EMPTY_MASK,
        f"{MASK}: expected defect and background, found 100 everywhere; the pair is left out",
        2,
    ),
    "grey 16-bit mask": (
        flat_16_bit_mask,
        Kind.MASK_NEARLY_FULL,
        "covers 100 % of the image: is it inverted?",
        3,
    ),
    "mask covers all": (
        lambda p: save(mask_with((slice(None), slice(None))), p / MASK),
        Kind.MASK_NEARLY_FULL,
        "covers 100 % of the image: is it inverted?",
        3,
    ),
    "truncated image": (
        lambda p: truncate(p / IMAGE),
        Kind.UNREADABLE,
        f"{IMAGE}: is damaged or cut short",
        2,
    ),
    "truncated mask": (lambda p: truncate(p / MASK), Kind.UNREADABLE, f"{MASK}: is damaged or cut short", 2),
    "zero bytes": (
        lambda p: (p / IMAGE).write_bytes(b""),
        Kind.UNREADABLE,
        f"{IMAGE}: is empty (0 bytes)",
        2,
    ),
    "not an image": (
        lambda p: (p / IMAGE).write_text("hello"),
        Kind.UNREADABLE,
        f"{IMAGE}: is not a PNG, JPEG, BMP, TIFF or WebP image",
        2,
    ),
    "link to nowhere": (
        lambda p: ((p / IMAGE).unlink(), (p / IMAGE).symlink_to(p / "gone.png")),
        Kind.UNREADABLE,
        f"{IMAGE}: cannot be opened: No such file",
        2,
    ),
    "bomb": (
        lambda p: (p / IMAGE).write_bytes(png_header(60_000, 60_000)),
        Kind.TOO_LARGE,
        f"{IMAGE}: has more than 179 megapixels; scale it down",
        2,
    ),
    "bomb as mask": (
        lambda p: (p / MASK).write_bytes(png_header(60_000, 60_000)),
        Kind.TOO_LARGE,
        f"{MASK}: has more than 179 megapixels",
        2,
    ),
    "floating point in planes": (
        lambda p: (p / IMAGE).write_bytes(tiff_of_no_known_kind()),
        Kind.UNREADABLE,
        f"{IMAGE}: is a TIFF of a kind that is not read; save it with 8 or 16 bits a channel",
        2,
    ),
    "broken normal": (
        lambda p: truncate(p / "train/good/001.png"),
        Kind.UNREADABLE,
        "train/good/001.png: is damaged or cut short",
        3,
    ),
    "sizes differ": (
        lambda p: save(square_mask((20, 20)), p / MASK),
        Kind.SIZES_DIFFER,
        f"{MASK}: expected 48 x 40 as 001.png, or that aspect, found 20 x 20",
        2,
    ),
    "mask on its side": (
        lambda p: save(square_mask(SIZE[::-1]), p / MASK),
        Kind.SIZES_DIFFER,
        "found 40 x 48; the pair is left out. It looks turned by 90 degrees.",
        2,
    ),
    "defect cropped away": (
        lambda p: save(mask_with((slice(None), slice(0, 3))), p / MASK),
        Kind.OUTSIDE_CROP,
        "nothing of its 120 px is inside; the pair is left out (--fit pad or stretch",
        2,
    ),
    "mask vanishes": (
        lambda p: save(mask_with((slice(20, 21), slice(6, 7))), p / MASK),
        Kind.MASK_VANISHES,
        "its 1 px fall between those of 32 x 32; the pair is left out",
        2,
    ),
    "mask misses the latent": (
        lambda p: save(mask_with((slice(0, 3), slice(20, 24))), p / MASK),
        Kind.MASK_THIN,
        "lie between the points of the 4 x 4 latent; kept",
        3,
    ),
    "image name twice": (
        lambda p: save(photograph(7), p / "test/crack/001.jpg"),
        Kind.NAME_COLLISION,
        "001.jpg and 001.png share one name and its mask; left out: rename one",
        2,
    ),
    "two masks": (
        lambda p: save(square_mask(), p / "ground_truth/crack/001.png"),
        Kind.SEVERAL_MASKS,
        "expected one mask, found 001.png and 001_mask.png",
        2,
    ),
    "a defect without images": (
        lambda p: (p / "test/dent").mkdir(),
        Kind.DEFECT_WITHOUT_PAIRS,
        "dent: expected at least one image with a usable mask, found none; left out",
        3,
    ),
    "a defect without masks": (
        lambda p: save(photograph(5), p / "test/dent/000.png"),
        Kind.FOLDER_MISSING,
        "ground_truth/dent: expected the masks of dent",
        3,
    ),
    "same photograph normal and defect": (
        lambda p: shutil.copy(p / "train/good/000.png", p / IMAGE),
        Kind.DUPLICATE,
        "001.png: the same file as train/good/000.png: one is to train as normal, the other to test as crack",
        3,
    ),
    "train and test share a photograph": (
        lambda p: shutil.copy(p / "test/crack/000.png", p / "test/crack/002.png"),
        Kind.DUPLICATE,
        "one is to train as crack, the other to test as crack",
        3,
    ),
    "blank photograph": (
        lambda p: save(Image.new("RGB", SIZE, "grey"), p / IMAGE),
        Kind.BLANK,
        f"{IMAGE}: every pixel has the same value",
        3,
    ),
    "other files": (
        lambda p: (p / "test/crack/notes.txt").write_text("scratches"),
        Kind.IGNORED,
        "test/crack/notes.txt: not an image",
        3,
    ),
    "folder in a folder": (
        lambda p: save(photograph(5), p / "test/crack/more/000.png"),
        Kind.IGNORED,
        "test/crack/more: a folder where images are expected",
        3,
    ),
    "two spellings of one defect": (
        lambda p: (
            save(photograph(5), p / "test/Crack!/000.png"),
            save(square_mask(), p / "ground_truth/Crack!/000_mask.png"),
        ),
        Kind.RENAMED,
        "is called crack_2, as crack is taken",
        3,
    ),
}


@pytest.mark.parametrize("case", STOPS)
def test_what_a_product_cannot_do_without_stops_the_run(tmp_path: Path, case: str) -> None:
    spoil, kind, words = STOPS[case]
    product = write_mvtec(tmp_path / "bottle")
    spoil(product)
    report = inspect_product(product, PhotographsConfig(layout=Layout.MVTEC), size=32)
    assert kind in {problem.kind for problem in report.errors}
    assert not report.usable
    with pytest.raises(UserError) as caught:
        load_product(product, PhotographsConfig(layout=Layout.MVTEC), size=32)
    assert words in str(caught.value)
    assert "Cannot be used" in str(caught.value)


@pytest.mark.parametrize("case", WARNS)
def test_what_a_product_can_do_without_is_a_warning(tmp_path: Path, case: str) -> None:
    spoil, kind, words, left = WARNS[case]
    product_folder = write_mvtec(tmp_path / "bottle")
    spoil(product_folder)
    product = load_product(product_folder, PhotographsConfig(fit=Fit.CROP), size=32)
    crack = next(c for c in product.report.defects if c.label == "crack")
    assert crack.train + crack.test == left
    assert kind in {problem.kind for problem in product.report.problems}
    assert words in product.report.to_text()
    assert all(problem.severity is Severity.WARNING for problem in product.report.problems)
    for defect in product.defects:  # whatever is left can be read
        for pair in (*defect.train, *defect.test):
            assert product.mask(pair).any()
            assert product.image(pair.image).shape == (32, 32, 3)


def test_the_kinds_in_the_table_are_as_many_as_the_ways_to_be_wrong() -> None:
    kinds = {row[1] for row in STOPS.values()} | {row[1] for row in WARNS.values()}
    elsewhere = {
        Kind.BROKEN_TABLE,
        Kind.BROKEN_LABELS,
        Kind.BOXES,
        Kind.STRAY_MASK,
        Kind.UNLABELLED,
        Kind.MISSING_FILE,
        Kind.SEVERAL_PAGES,
        Kind.ROTATION_UNCLEAR,
        Kind.FEW_NORMALS,
        Kind.FEW_PAIRS,
    }
    elsewhere |= {  # tests/train/data/pictures
        Kind.NOT_A_MASK,
        Kind.MASK_DOUBT,
        Kind.MASK_SCALED,
        Kind.DEFECT_CUT,
        Kind.SMALL_DEFECT,
        Kind.CROPPED,
        Kind.FLAT,
        Kind.DEPTHS_DIFFER,
    }
    assert kinds | elsewhere == set(Kind)


def test_everything_wrong_is_in_one_report(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle", {"crack": 4, "dent": 2})
    truncate(product / "test/crack/000.png")
    (product / "ground_truth/crack/001_mask.png").unlink()
    save(square_mask(value=0), product / "ground_truth/dent/000_mask.png")
    no_normals(product)
    with pytest.raises(UserError) as caught:
        load_product(product, size=32)
    for words in (
        "no normals",
        "crack/000.png: is damaged",
        "found none; left out",
        "dent/000_mask.png: expected",
    ):
        assert words in str(caught.value)


def folder_of_products(tmp: Path) -> Path:
    write_mvtec(tmp / "bottle")
    write_mvtec(tmp / "cable")
    return tmp


def two_layouts(tmp: Path) -> Path:
    write_visa(tmp, ["melt"])
    return write_mvtec(tmp / "candle")


def an_archive(tmp: Path) -> Path:
    (tmp / "bottle.tar").write_bytes(b"archive")
    return tmp / "bottle.tar"


def just_pictures(tmp: Path) -> Path:
    save(photograph(1), tmp / "shots" / "1.png")
    return tmp / "shots"


# Folders that are no product at all: how it is made, and words of the message.
FOLDERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "misspelt": (
        lambda tmp: folder_of_products(tmp) / "botle",
        "no such folder. Products in {tmp}: bottle, cable. Did you mean bottle?",
    ),
    "nothing near": (lambda tmp: tmp / "bottle", "{tmp} holds no products: an empty folder"),
    "no parent": (lambda tmp: tmp / "data/bottle", "{tmp}/data does not exist either"),
    "a file": (an_archive, "expected a product's folder, found a file. Unpack it"),
    "the root": (folder_of_products, "found a folder of products: bottle, cable. Name one, for example"),
    "unknown": (
        just_pictures,
        "in one of these layouts\n  mvtec: train/good, test/DEFECT and ground_truth/DEFECT\n",
    ),
    "ambiguous": (two_layouts, "found signs of 2: "),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_is_no_product_is_explained(tmp_path: Path, case: str) -> None:
    make, words = FOLDERS[case]
    directory = make(tmp_path)
    with pytest.raises(UserError) as caught:
        inspect_product(directory, size=32)
    assert words.format(tmp=tmp_path) in str(caught.value)
    assert str(directory) in str(caught.value)


def test_an_ambiguous_folder_is_read_as_the_layout_that_is_named(tmp_path: Path) -> None:
    directory = two_layouts(tmp_path)
    assert [
        d.name for d in load_product(directory, PhotographsConfig(layout=Layout.VISA), size=32).defects
    ] == ["melt"]
    assert [
        d.name for d in load_product(directory, PhotographsConfig(layout=Layout.MVTEC), size=32).defects
    ] == ["crack"]


OPTIONS: dict[str, tuple[dict[str, object], str]] = {
    "size not of the latent": (
        {"size": 36},
        "image size: expected a multiple of the base's 8 pixels, found 36",
    ),
    "size zero": ({"size": 0}, "found 0"),
    "no shots": ({"size": 32, "shots": 0}, "shots: expected 1 or more, or none, found 0"),
    "no normals": ({"size": 32, "normals": 0}, "normals: expected 1 or more, found 0"),
    "unknown defect": (
        {"size": 32, "defects": ("scratch",)},
        "expected a defect of this product (crack), found 'scratch'",
    ),
    "empty list of defects": ({"size": 32, "defects": ()}, "expected at least one defect to be named"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_a_wrong_option_is_explained(tmp_path: Path, case: str) -> None:
    options, words = dict(OPTIONS[case][0]), OPTIONS[case][1]
    product, size = write_mvtec(tmp_path / "bottle"), options.pop("size")
    with pytest.raises(UserError) as caught:
        load_product(product, PhotographsConfig(**options), size=size)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_a_defect_asked_for_by_name_must_have_pairs(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    save(photograph(5), product / "test/dent/000.png")
    assert [d.name for d in load_product(product, size=32).defects] == ["crack"]
    with pytest.raises(UserError, match="dent: expected at least one image with a usable mask"):
        load_product(product, PhotographsConfig(defects=("crack", "dent")), size=32)


def test_what_the_crop_removes_another_fit_keeps(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    save(mask_with((slice(None), slice(0, 3))), product / MASK)
    for fit, pairs in ((Fit.CROP, 2), (Fit.PAD, 3), (Fit.STRETCH, 3)):
        defect = load_product(product, PhotographsConfig(fit=fit), size=32).defects[0]
        assert len(defect.train) + len(defect.test) == pairs


def test_visa_tables_and_files_that_do_not_agree(tmp_path: Path) -> None:
    product = write_visa(tmp_path, ["melt", "melt", "melt"])
    (product / "Data/Images/Anomaly/001.JPG").unlink()
    save(photograph(9), product / "Data/Images/Anomaly/009.JPG")
    save(square_mask(value=1), product / "Data/Masks/Anomaly/009.png")
    (product / "Data/Images/Normal/0001.JPG").unlink()
    text = load_product(product, size=32).report.to_text()
    assert "Data/Images/Anomaly/009.JPG: not labelled in image_anno.csv; left out" in text
    assert "001.jpg: listed in image_anno.csv, but there is no such file" in text
    assert "0001.jpg: listed in 1cls.csv, but there is no such file" in text
    assert "Data/Masks/Anomaly/001.png: no image of anomaly has this name" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"picture,kind\n", "expected the columns image, label, found ['picture', 'kind']"),
        (b"\xff\xfe\x00\x01", "cannot be read as CSV"),
    ],
)
def test_a_broken_visa_table_stops_the_run(tmp_path: Path, content: bytes, words: str) -> None:
    product = write_visa(tmp_path, ["melt"])
    (product / "image_anno.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_product(product, size=32)
    assert "broken table" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("folder", ["Data/Images/Normal", "Data/Images/Anomaly", "Data/Masks"])
def test_a_visa_product_without_one_of_its_folders_stops(tmp_path: Path, folder: str) -> None:
    product = write_visa(tmp_path, ["melt"])
    shutil.rmtree(product / folder)
    with pytest.raises(UserError, match=f"{folder}.*: expected the folder of"):
        load_product(product, size=32)


def test_a_3d_product_without_masks_stops(tmp_path: Path) -> None:
    product = write_mvtec3d(tmp_path / "bagel", {"hole": 3})
    shutil.rmtree(product / "test/hole/gt")
    with pytest.raises(UserError, match="test/hole/gt: expected the masks of hole"):
        load_product(product, size=32)


def test_a_mask_on_a_turned_photograph_of_the_same_size_is_reported(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: the mask fits either way
    save(photograph(5), product / IMAGE, exif=exif)
    text = load_product(product, size=32).report.to_text()
    assert f"{MASK}: EXIF turns 001.png; the mask is taken as drawn on the upright picture" in text


def test_pages_beyond_the_first_are_reported(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    save(photograph(5), product / "train/good/9.tif", save_all=True, append_images=[photograph(6)])
    report = load_product(product, size=32).report
    assert "train/good/9.tif: has 2 pages; the first is used" in report.to_text()
