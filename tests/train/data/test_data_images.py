"""Photographs and masks of every kind are read upright and stay aligned whatever the fit."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data import Fit, Preprocessing, load_product, read_image, read_mask
from seas_train.data.images import Masks, fit_image
from seas_train.data.images.fit import fit_foreground as fit_mask
from tests.train.data.product_folders import photograph, save, square_mask, write_mvtec

STRETCH = Preprocessing(16, Fit.STRETCH)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(40, 300),
    height=st.integers(40, 300),
    size=st.sampled_from([32, 64, 128]),
    fit=st.sampled_from(Fit),
    left=st.floats(0.3, 0.45),
    top=st.floats(0.3, 0.45),
)
def test_image_and_mask_are_transformed_alike(
    width: int, height: int, size: int, fit: Fit, left: float, top: float
) -> None:
    """A red square on blue, and a mask of it, still cover the same pixels."""
    short = min(width, height)
    x, y = round(width / 2 - short * (0.5 - left)), round(height / 2 - short * (0.5 - top))
    side = round(short * 0.4)
    picture = Image.new("RGB", (width, height), "blue")
    picture.paste("red", (x, y, x + side, y + side))
    mask = Image.new("L", (width, height))
    mask.paste(255, (x, y, x + side, y + side))
    preprocessing = Preprocessing(size, fit)
    pixels = fit_image(picture, preprocessing)  # [size, size, 3]
    fitted = fit_mask(mask, preprocessing)  # [size, size]
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert fitted.shape == (size, size)
    assert fitted.dtype == np.bool_
    red = pixels[..., 0] > 127
    rows, columns = np.nonzero(fitted)
    red_rows, red_columns = np.nonzero(red)
    assert abs(rows.min() - red_rows.min()) <= 1
    assert abs(rows.max() - red_rows.max()) <= 1
    assert abs(columns.min() - red_columns.min()) <= 1
    assert abs(columns.max() - red_columns.max()) <= 1


def test_crop_keeps_the_centre_pad_keeps_all_stretch_distorts() -> None:
    mask = Image.new("L", (120, 60))
    mask.paste(255, (0, 0, 30, 60))  # the left quarter: outside the centre square
    assert not fit_mask(mask, Preprocessing(32)).any()
    padded = fit_mask(mask, Preprocessing(32, Fit.PAD))
    assert padded.sum() == 8 * 16  # a quarter of 32 x 16
    assert not padded[:8].any()
    assert not padded[24:].any()
    assert fit_mask(mask, Preprocessing(32, Fit.STRETCH)).sum() == 8 * 32


def test_padding_of_an_image_repeats_its_border() -> None:
    picture = Image.new("RGB", (120, 60), (10, 20, 30))
    assert (fit_image(picture, Preprocessing(32, Fit.PAD)) == (10, 20, 30)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 3)])
@pytest.mark.parametrize("fit", Fit)
def test_odd_shapes_are_fitted(size: tuple[int, int], fit: Fit) -> None:
    assert fit_image(Image.new("RGB", size), Preprocessing(24, fit)).shape == (24, 24, 3)
    assert fit_mask(Image.new("L", size, 255), Preprocessing(24, fit)).any()


def test_masks_are_thresholded_or_read_as_labels(tmp_path: Path) -> None:
    values = np.repeat(np.array([0, 1, 127, 128], np.uint8), 4)[None].repeat(16, axis=0)
    path = save(Image.fromarray(values), tmp_path / "m.png")
    assert read_mask(path, replace(STRETCH, masks=Masks.BINARY)).sum() == 4 * 16
    assert read_mask(path, replace(STRETCH, masks=Masks.LABELS)).sum() == 12 * 16


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_pictures_of_every_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    """A white left half and a black right half look the same however they are stored."""
    picture = Image.new("L", (16, 16))
    picture.paste(255, (0, 0, 8, 16))
    suffix = ".tif" if mode == "CMYK" else ".png"
    path = save(picture.convert("RGB").convert(mode), tmp_path / f"p{suffix}")
    with Image.open(path) as saved:
        assert saved.mode == mode
    pixels = read_image(path, STRETCH)
    assert (pixels[:, :8] > 250).all()
    assert (pixels[:, 8:] < 5).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.repeat(np.array([0, 16384, 32768, 65535], np.uint16), 4)[None].repeat(16, axis=0)
    path = save(Image.fromarray(values), tmp_path / f"p{suffix}")
    assert read_image(path, STRETCH)[8, [1, 5, 9, 14]].tolist() == [[v] * 3 for v in (0, 64, 128, 255)]
    assert read_mask(path, replace(STRETCH, masks=Masks.BINARY)).sum() == 8 * 16
    assert read_mask(path, replace(STRETCH, masks=Masks.LABELS)).sum() == 12 * 16


def test_sixteen_bit_masks_that_hold_eight_bit_values(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.full((16, 16), 255, np.uint16)), tmp_path / "m.png")
    assert read_mask(path, replace(STRETCH, masks=Masks.BINARY)).all()


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">HHH", 65535, 32768, 0) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 16)) + chunk(b"IEND", b"")
    (tmp_path / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert read_image(tmp_path / "p.png", STRETCH)[0, 0].tolist() == [255, 128, 0]


def test_a_twelve_bit_camera_in_sixteen_bit_files_is_not_dark(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "bottle", normals=0)
    values = np.random.default_rng(0).integers(0, 4096, (40, 48)).astype(np.uint16)
    path = save(Image.fromarray(values), folder / "train/good/000.png")
    product = load_product(folder, size=32)
    assert product.preprocessing.bit_depth == 12
    assert 118 < product.image(path).mean() < 138
    assert "they are scaled from 12 bits" in product.report.to_text()


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    picture.paste((200, 100, 50, 255), (0, 0, 8, 16))
    pixels = read_image(save(picture, tmp_path / "p.png"), STRETCH)
    assert pixels[8, 2].tolist() == [200, 100, 50]
    assert pixels[8, 13].tolist() == [255, 255, 255]


def test_palette_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.paste(0, (0, 0, 8, 16))
    pixels = read_image(save(picture, tmp_path / "p.png", transparency=0), STRETCH)
    assert pixels[8, 2].tolist() == [255, 255, 255]
    assert pixels[8, 13].tolist() == [10, 20, 30]


def left_half(background: object, foreground: object, mode: str) -> Image.Image:
    picture = Image.new(mode, (16, 16), background)  # type: ignore[arg-type]
    picture.paste(foreground, (0, 0, 8, 16))  # type: ignore[arg-type]
    return picture


def palette_mask(palette: list[int]) -> Image.Image:
    picture = left_half(0, 1, "P")
    picture.putpalette(palette)
    return picture


MASKS = {
    "bilevel": left_half(0, 1, "1"),
    "red on black": left_half("black", "red", "RGB"),
    "dark red of a segmentation palette": palette_mask([0, 0, 0, 128, 0, 0]),
    "black palette, indices count": palette_mask([0, 0, 0, 0, 0, 0]),
    "white paint on transparency": left_half((0, 0, 0, 0), (255, 255, 255, 255), "RGBA"),
    "opaque alpha": left_half((0, 0, 0, 255), (255, 255, 255, 255), "RGBA"),
    "black paint on transparency": left_half((0, 0, 0, 0), (0, 0, 0, 255), "RGBA"),
    "hidden white under transparency": left_half((255, 255, 255, 0), (255, 255, 255, 255), "RGBA"),
    "grey with alpha": left_half((0, 255), (255, 255), "LA"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_from_every_paint_program(tmp_path: Path, name: str) -> None:
    mask = read_mask(save(MASKS[name], tmp_path / "m.png"), STRETCH)
    assert mask[:, :8].all()
    assert not mask[:, 8:].any()


# Sizes tell a mask drawn on stored pixels where EXIF swaps the sides; Pillow turns TIFF files itself.
TURNED = [(turn, suffix, "upright") for turn in range(1, 9) for suffix in (".jpg", ".png", ".tif")]
TURNED += [(turn, suffix, "stored") for turn in range(5, 9) for suffix in (".jpg", ".png")]


@pytest.mark.parametrize(("orientation", "suffix", "drawn_on"), TURNED)
def test_exif_turns_the_photograph_and_the_mask_follows(
    tmp_path: Path, orientation: int, suffix: str, drawn_on: str
) -> None:
    """A bright corner ends up where the viewer sees it, with its mask, on whichever pixels that was drawn."""
    upright = np.zeros((40, 64, 3), np.uint8)
    upright[4:16, 4:24] = 250
    flip_rows, flip_columns, swap = upright[::-1], upright[:, ::-1], upright.swapaxes(0, 1)
    turned = [upright, flip_columns, upright[::-1, ::-1], flip_rows]
    turned += [swap, np.rot90(upright), np.rot90(swap, 2), np.rot90(upright, 3)]
    stored = np.ascontiguousarray(turned[orientation - 1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if suffix == ".jpg" else {}
    image = save(Image.fromarray(stored), tmp_path / f"p{suffix}", exif=exif, **options)
    drawn = upright if drawn_on == "upright" else stored
    mask = save(Image.fromarray((drawn[..., 0] > 127).astype(np.uint8) * 255), tmp_path / "m.png")
    for fit in Fit:
        preprocessing = Preprocessing(64, fit)
        pixels = read_image(image, preprocessing)
        marked = read_mask(mask, preprocessing, image=image)
        assert iou(pixels[..., 0] > 127, marked) > 0.9
        assert marked[:32].sum() > 0.9 * marked.sum()


def test_a_mask_with_the_photographs_own_exif_is_turned_by_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.zeros((40, 40), np.uint8)
    values[:8] = 255  # the stored top becomes the right
    image = save(Image.fromarray(values), tmp_path / "p.png", exif=exif)
    mask = save(Image.fromarray(values), tmp_path / "m.png", exif=exif)
    preprocessing = Preprocessing(40)
    expected = read_image(image, preprocessing)[..., 0] > 127
    assert expected[:, 32:].all()
    assert (read_mask(mask, preprocessing, image=image) == expected).all()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    image = save(photograph(1, (30, 20)), tmp_path / "p.png")
    mask = save(square_mask((20, 20)), tmp_path / "m.png")
    with pytest.raises(
        UserError, match=r"m\.png: expected the size of .*p\.png, \(30, 20\), found \(20, 20\)"
    ):
        read_mask(mask, STRETCH, image=image)


def test_content_counts_not_the_ending(tmp_path: Path) -> None:
    save(photograph(1), tmp_path / "p.jpg").rename(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png", STRETCH).std() > 1


def test_formats_with_an_interpreter_are_not_opened(tmp_path: Path) -> None:
    save(photograph(1), tmp_path / "p.eps").rename(tmp_path / "p.png")
    with pytest.raises(UserError, match="is not a PNG, JPEG, BMP, TIFF or WebP image"):
        read_image(tmp_path / "p.png", STRETCH)


def test_preprocessing_survives_its_dictionary() -> None:
    preprocessing = Preprocessing(64, Fit.PAD, 12)
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    with pytest.raises(UserError, match="expected a key 'fit'"):
        Preprocessing.from_dict({"size": 64})
    with pytest.raises(UserError, match="'round' is not a valid Fit"):
        Preprocessing.from_dict({"size": 64, "fit": "round"})
    with pytest.raises(UserError, match="bit depth: expected one of"):
        Preprocessing(64, bit_depth=9)
    with pytest.raises(UserError, match="expected a positive number of pixels, found 0"):
        Preprocessing(0)
