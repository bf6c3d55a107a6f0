"""Pictures of more than 8 bits, transparency, and what the report says of a product's levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data import (
    Fit,
    Kind,
    PhotographsConfig,
    Preprocessing,
    Window,
    inspect_product,
    load_product,
    read_image,
)
from seas_train.data.images import UnreadableImage
from tests.train.data.picture_files import write_bmp_with_alpha, write_png, write_tiff
from tests.train.data.product_folders import photograph, save, square_mask, write_mvtec

HEIGHT, WIDTH = 40, 48
SAME = Preprocessing(40, Fit.STRETCH, 12)


def ramps(most: int = 4095) -> np.ndarray:
    """Colour from 0 to `most` [40, 40, 3] uint16: a gradient across, one down, and one constant channel."""
    across, down = np.meshgrid(np.arange(40), np.arange(40))
    return np.stack([across * most // 39, down * most // 39, np.full_like(across, most // 3)], -1).astype(
        np.uint16
    )


def close(pixels: np.ndarray, values: np.ndarray, most: float = 4095) -> bool:
    return bool(np.abs(pixels - values / most * 255).max() <= 1)


PNG_AND_TIFF = {
    "png": lambda path, v: write_png(path, v),
    "png and alpha": lambda path, v: write_png(path, with_alpha(v, 65535)),
    "little-endian": lambda path, v: write_tiff(path, v),
    "big-endian": lambda path, v: write_tiff(path, v, big=True),
    "deflate": lambda path, v: write_tiff(path, v, deflate=True),
    "big-endian deflate": lambda path, v: write_tiff(path, v, big=True, deflate=True),
    "planes": lambda path, v: write_tiff(path, v, planes=True),
    "big-endian planes": lambda path, v: write_tiff(path, v, planes=True, big=True),
    "alpha": lambda path, v: write_tiff(path, with_alpha(v, 65535), alpha=2),
    "associated alpha": lambda path, v: write_tiff(path, with_alpha(v, 65535), alpha=1, big=True),
}


def with_alpha(values: np.ndarray, alpha: int) -> np.ndarray:
    return np.concatenate([values, np.full_like(values[..., :1], alpha)], axis=-1)


@pytest.mark.parametrize("name", PNG_AND_TIFF)
def test_twelve_bit_colour_in_sixteen_bit_files_is_scaled_as_grey_is(tmp_path: Path, name: str) -> None:
    """Was: the high bytes alone, so a mean of 5.5 of 255."""
    path = PNG_AND_TIFF[name](tmp_path / f"p.{'png' if 'png' in name else 'tif'}", ramps())
    assert close(read_image(path, SAME), ramps())


def test_the_depth_of_each_kind_of_file_is_said(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle", normals=0)
    for index in range(3):
        write_png(product / f"train/good/{index}.png", ramps())
    write_tiff(product / "train/good/9.tif", ramps(), big=True)
    loaded = load_product(product, size=32)
    assert loaded.preprocessing.bit_depth == 12
    assert loaded.image(product / "train/good/9.tif").mean() == pytest.approx(112, abs=6)
    text = loaded.report.to_text()
    assert "pictures by depth: 5 8-bit colour, 4 16-bit colour" in text
    assert "16-bit images hold values up to 4095: they are scaled from 12 bits" in text
    assert loaded.report.to_dict()["pictures"]["depths"] == {"16-bit colour": 4, "8-bit colour": 5}


def test_grey_and_alpha_of_sixteen_bits(tmp_path: Path) -> None:
    grey = ramps()[..., :1]
    path = write_png(tmp_path / "p.png", np.concatenate([grey, np.full_like(grey, 65535)], axis=-1))
    assert close(read_image(path, SAME), np.repeat(grey, 3, axis=-1))


def test_colour_in_compressed_planes_is_refused_and_not_wrong(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "p.tif", ramps(), planes=True, deflate=True)
    with pytest.raises(UnreadableImage, match="colour of 16 bits in compressed planes; save it with"):
        read_image(path, SAME)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", ["uint16", "int16", "int32", "float32"])
def test_grey_tiffs_of_either_byte_order(tmp_path: Path, kind: str, big: bool, deflate: bool) -> None:
    grey = ramps()[..., 0]
    values = (grey / 4095).astype(kind) if kind == "float32" else grey.astype(kind)
    path = write_tiff(tmp_path / "p.tif", values, big=big, deflate=deflate)
    assert close(read_image(path, SAME), np.repeat(grey[..., None], 3, axis=-1))


def test_a_tiff_in_which_zero_is_white(tmp_path: Path) -> None:
    grey = ramps(65535)[..., 0]
    path = write_tiff(tmp_path / "p.tif", 65535 - grey, photometric=0)
    assert close(read_image(path, Preprocessing(40)), np.repeat(grey[..., None], 3, axis=-1), 65535)


def test_one_big_endian_tiff_does_not_end_the_check(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    write_tiff(product / "train/good/big.tif", ramps()[..., 0], big=True)
    report = inspect_product(product, size=32)
    assert report.usable
    assert not [p for p in report.problems if p.kind is Kind.UNREADABLE]
    assert report.normals.left_out == 0


def test_values_that_are_no_numbers_are_the_lowest(tmp_path: Path) -> None:
    values = (ramps()[..., 0] / 4095).astype(np.float32)
    values[3, 3], values[4, 4] = np.nan, np.inf
    pixels = read_image(write_tiff(tmp_path / "p.tif", values), SAME)
    assert pixels[3, 3, 0] == 0
    assert pixels[4, 4, 0] == 255


def thermal(product: Path, count: int = 4, kind: str = "uint16") -> Path:
    """Normals of a thermal camera: 29,000 to 30,200, with a dead pixel, a hot one, and a border of zeros."""
    random = np.random.default_rng(0)
    for index in range(count):
        across = np.linspace(29_000, 30_200, 80)[None].repeat(60, axis=0) + random.normal(0, 5, (60, 80))
        across[10, 10], across[11, 11], across[:3] = 0, 65535, 0
        write_tiff(product / f"train/good/{index}.tif", across.clip(0, 65535).astype(kind))
    return product


@pytest.mark.parametrize("kind", ["uint16", "float32", "int32"])
def test_thermal_pictures_are_not_flat_grey(tmp_path: Path, kind: str) -> None:
    """Was: a deviation of 0.9 of 255, and no word."""
    product = thermal(write_mvtec(tmp_path / "bottle", normals=0), kind=kind)
    loaded = load_product(product, size=32)
    window = loaded.preprocessing.window
    assert window is not None
    assert 28_800 < window[0] < 29_000
    assert 30_200 < window[1] < 30_400
    assert loaded.image(product / "train/good/0.tif")[4:].std() > 40
    assert "become black to white (from the percentiles of all pictures)" in loaded.report.to_text()
    assert not [p for p in loaded.report.problems if p.kind is Kind.FLAT]
    assert loaded.report.to_dict()["pictures"]["window"] == list(window)
    assert Preprocessing.from_dict(loaded.preprocessing.to_dict()) == loaded.preprocessing


def test_one_more_picture_leaves_the_window(tmp_path: Path) -> None:
    product = thermal(write_mvtec(tmp_path / "bottle", normals=0))
    before = load_product(product, size=32)
    thermal(product, count=5)
    after = load_product(product, PhotographsConfig(normals=4), size=32)
    assert after.preprocessing == before.preprocessing
    assert after.fingerprint == before.fingerprint


def test_a_window_is_overridden_and_flat_pictures_are_told(tmp_path: Path) -> None:
    product = thermal(write_mvtec(tmp_path / "bottle", {"crack": 1}, normals=0, test_normals=0), count=6)
    full = load_product(product, PhotographsConfig(window=Window.FULL), size=32)
    assert full.preprocessing.window is None
    assert "few levels used" in full.report.to_text()
    assert "of 255 levels" in full.report.to_text()
    given = load_product(product, PhotographsConfig(window=(29_000.0, 30_200.0)), size=32)
    assert given.preprocessing.window == (29_000.0, 30_200.0)
    assert "(as asked for)" in given.report.to_text()
    assert len({p.fingerprint for p in (full, given, load_product(product, size=32))}) == 3
    with pytest.raises(UserError, match="window: expected a lower and a higher value"):
        load_product(product, PhotographsConfig(window=(5.0, 5.0)), size=32)


def test_eight_bit_pictures_of_few_levels_are_told_and_stretched_where_asked(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle", normals=0, test_normals=0, defects={"dent": 3})
    for path in [product / f"train/good/{i}.png" for i in range(4)] + list((product / "test/dent").iterdir()):
        values = np.random.default_rng(1).integers(100, 119, (HEIGHT, WIDTH), dtype=np.uint8)
        save(Image.fromarray(values), path)
    product_report = inspect_product(product, size=32)
    flat = [p for p in product_report.problems if p.kind is Kind.FLAT]
    assert len(flat) == 1
    assert "most of their values are 100 to 118" in flat[0].message
    stretched = load_product(product, PhotographsConfig(window=(100.0, 118.0)), size=32)
    assert stretched.image(product / "train/good/0.png").std() > 30
    assert not [p for p in stretched.report.problems if p.kind is Kind.FLAT]


def test_a_few_files_that_set_the_depth_alone_are_told(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle", normals=0)
    for index in range(5):
        write_png(product / f"train/good/{index}.png", ramps(4095 if index else 65535))
    report = inspect_product(product, size=32)
    told = [p.message for p in report.problems if p.kind is Kind.DEPTHS_DIFFER]
    assert told == [
        "1 of 5 pictures hold values of 16 bits, the others none above 4095: those become dark. If they are "
        "of one camera, --window 0,4095"
    ]
    assert load_product(product, PhotographsConfig(window=(0, 4095)), size=32).image(
        product / "train/good/1.png"
    ).mean() == pytest.approx(112, abs=6)


def invisible(path: Path, alpha: int = 0) -> Path:
    """A photograph whose alpha is one value everywhere, in the format of the path's ending."""
    rgba = np.dstack([np.asarray(photograph(3)), np.full((HEIGHT, WIDTH), alpha, np.uint8)])
    if path.suffix == ".bmp":
        return write_bmp_with_alpha(path, rgba)
    if path.name.startswith("associated"):
        return write_tiff(path, rgba, alpha=1)
    if path.name.startswith("sixteen"):
        return write_png(path, rgba.astype(np.uint16) * 257)
    if path.name.startswith("grey"):
        return save(Image.fromarray(np.ascontiguousarray(rgba[..., [0, 3]])), path)
    if path.name.startswith("palette"):
        return save(photograph(3).quantize(16), path, transparency=bytes([alpha] * 16))
    options = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    return save(Image.fromarray(rgba), path, **options)


INVISIBLE = ("p.png", "p.bmp", "p.tif", "associated.tif", "sixteen.png", "grey.png", "palette.png", "p.webp")


@pytest.mark.parametrize("alpha", [0, 77])
@pytest.mark.parametrize("name", INVISIBLE)
def test_an_alpha_that_is_one_value_everywhere_is_ignored(tmp_path: Path, name: str, alpha: int) -> None:
    """Was: white squares."""
    pixels = read_image(invisible(tmp_path / name, alpha), Preprocessing(40))
    expected = np.asarray(photograph(3), dtype=float)[:, 4:44]
    expected = expected[..., :1] if name.startswith("grey") else expected
    assert np.abs(pixels - expected).mean() < (30 if name.startswith("palette") else 1)
    assert pixels.std() > 20


def test_associated_alpha_lies_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[:, :20] = (100, 50, 25, 128)  # multiplied by its alpha
    pixels = read_image(write_tiff(tmp_path / "p.tif", rgba, alpha=1), Preprocessing(40))
    assert pixels[20, 5].tolist() == [227, 177, 152]
    assert pixels[20, 35].tolist() == [255, 255, 255]


def test_blank_pictures_are_told_after_conversion(tmp_path: Path) -> None:
    """What varies under transparency may be white all over as it is read."""
    product = write_mvtec(tmp_path / "bottle")
    hidden = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    hidden[..., :3] = np.asarray(photograph(1))
    hidden[0, 0] = (255, 255, 255, 255)
    save(Image.fromarray(hidden), product / "train/good/000.png")
    white = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    white[..., 3] = np.arange(WIDTH)
    save(Image.fromarray(white), product / "train/good/001.png")
    write_png(product / "train/good/002.png", np.full((HEIGHT, WIDTH, 3), 4095, np.uint16))
    blank = [
        p.path.name for p in inspect_product(product, size=32).problems if p.kind is Kind.BLANK and p.path
    ]
    assert blank == ["000.png", "001.png", "002.png"]


def test_a_speck_on_a_large_flat_photograph_is_not_blank(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    picture = Image.new("RGB", (2048, 2048), "grey")
    picture.paste("white", (100, 100, 108, 108))
    save(picture, product / "train/good/000.jpg")
    save(picture, product / "train/good/001.png")
    assert not [p for p in inspect_product(product, size=32).problems if p.kind is Kind.BLANK]


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "1", "YCbCr"])
def test_other_colour_spaces_look_as_they_should(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (40, 40), "white")
    picture.paste("black", (0, 0, 20, 40))
    if mode == "LAB":
        stored = Image.merge(
            "LAB", [picture.convert("L"), Image.new("L", (40, 40), 128), Image.new("L", (40, 40), 128)]
        )
    else:
        stored = picture.convert(mode)
    pixels = read_image(save(stored, tmp_path / "p.tif"), Preprocessing(40))
    assert pixels[:, :19].max() < 12
    assert pixels[:, 21:].min() > 243


def test_a_mask_in_sixteen_bits_and_in_floating_point(tmp_path: Path) -> None:
    product = write_mvtec(tmp_path / "bottle")
    square = np.asarray(square_mask())
    masks = product / "ground_truth/crack"
    for index, values in enumerate(
        ((square > 0).astype(np.uint16) * 4095, (square > 0).astype(np.float32), square.astype(np.int32))
    ):
        (masks / f"{index:03}_mask.png").unlink()
        write_tiff(masks / f"{index:03}_mask.tif", values, big=index % 2 == 0)
    loaded = load_product(product, size=32)
    for pair in (*loaded.defects[0].train, *loaded.defects[0].test):
        assert loaded.mask(pair).sum() == pytest.approx(100, abs=20)
