"""Photographs are read as they are, written without loss, and seen by a base as in training."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.errors import UserError
from seas_runtime.photographs.png import encode_png
from seas_runtime.photographs.reading import Photograph, decode_photograph, find_photographs, read_photograph
from seas_runtime.photographs.values import Values
from seas_train.data.images import Fit, Preprocessing, read_image
from tests.train.data.picture_files import write_png, write_tiff

SIDE = 40  # square, so that training's fit of the same size changes nothing
SHAPES = [(), (2,), (3,), (4,)]
WINDOWS = [None, (300.0, 2900.5), (-20.0, 200.0), (30.0, 90.0)]


def smooth(dtype: str, channels: tuple[int, ...] = (), seed: int = 0) -> np.ndarray:
    """Pixels [40, 40, *channels] that use the whole range, alpha with them."""
    most = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, most + 1, (SIDE, SIDE, *channels)).astype(dtype)


def as_trained(path: Path, values: Values) -> np.ndarray:
    return read_image(path, Preprocessing(SIDE, Fit.STRETCH, values.bit_depth, values.window))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_written_is_read_again(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    pixels = smooth(dtype, shape)[:23]
    path = tmp_path / "p.png"
    path.write_bytes(encode_png(pixels))
    found = read_photograph(path)
    assert found.pixels.dtype == pixels.dtype
    assert np.array_equal(found.pixels, pixels)
    assert (found.height, found.width, found.name) == (23, SIDE, "p.png")
    assert encode_png(pixels) == path.read_bytes()


def test_others_read_our_png() -> None:
    """Pillow reads 8 bits and 16-bit grey by itself; the blocks that rows are compressed in do not show."""
    grey = np.random.default_rng(1).integers(0, 65536, (3000, 3000)).astype(np.uint16)
    with Image.open(io.BytesIO(encode_png(grey))) as opened:
        assert opened.mode in ("I;16", "I")  # the latter in older Pillows
        assert np.array_equal(np.asarray(opened).astype(np.uint16), grey)
    rgba = smooth("uint8", (4,))
    with Image.open(io.BytesIO(encode_png(rgba))) as opened:
        assert np.array_equal(np.asarray(opened), rgba)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 5), np.uint8)])
def test_what_png_has_not_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_png(wrong)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_base_sees_what_it_saw_in_training(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], window: tuple[float, float] | None
) -> None:
    values = Values(12, window)
    path = tmp_path / "p.png"
    path.write_bytes(encode_png(smooth(dtype, shape)))
    photograph = read_photograph(path)
    seen = values.to_rgb8(photograph.pixels, photograph.opaque)
    assert np.array_equal(seen, as_trained(path, values))


@pytest.mark.parametrize("save", [{"big": True}, {"planes": True}, {"deflate": True}], ids=str)
def test_tiffs_of_sixteen_bits_are_seen_as_in_training(tmp_path: Path, save: dict[str, bool]) -> None:
    pixels = smooth("uint16", (3,))
    path = write_tiff(tmp_path / "p.tif", pixels, **save)
    assert np.array_equal(read_photograph(path).pixels, pixels)
    assert np.array_equal(Values(14).to_rgb8(pixels), as_trained(path, Values(14)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_every_mode_are_upright_and_seen_as_in_training(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    image = Image.fromarray(smooth("uint8", (4,))).convert(mode)
    path = tmp_path / ("p.jpg" if mode == "CMYK" else "p.png")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    photograph = read_photograph(path)
    assert photograph.pixels.ndim == (2 if mode in ("1", "L") else 3)
    assert np.array_equal(Values().to_rgb8(photograph.pixels), as_trained(path, Values()))


def test_a_transparent_colour_of_a_grey_picture_is_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(smooth("uint8") // 16)
    image.save(tmp_path / "p.png", transparency=3)
    photograph = read_photograph(tmp_path / "p.png")
    assert photograph.pixels.shape == (SIDE, SIDE, 2)
    assert not photograph.opaque
    assert np.array_equal(Values().to_rgb8(photograph.pixels), as_trained(tmp_path / "p.png", Values()))


def test_alpha_that_is_the_same_everywhere_says_nothing(tmp_path: Path) -> None:
    pixels = smooth("uint16", (4,))
    pixels[..., 3] = 20_000
    path = write_png(tmp_path / "p.png", pixels)
    assert read_photograph(path).opaque
    assert np.array_equal(Values().to_rgb8(pixels), as_trained(path, Values()))
    corner = smooth("uint8", (4,))
    corner[:8, :8, 3] = 128
    whole = Values().to_rgb8(corner)
    assert np.array_equal(Values().to_rgb8(corner[:8, :8], opaque=False), whole[:8, :8])
    assert not np.array_equal(Values().to_rgb8(corner[:8, :8]), whole[:8, :8])


def test_colours_multiplied_by_alpha_become_plain_ones(tmp_path: Path) -> None:
    plain = smooth("uint16", (4,))
    plain[..., 3] |= 0x4000
    multiplied = plain.copy()
    multiplied[..., :3] = np.rint(plain[..., :3] * (plain[..., 3:] / 65535))
    path = write_tiff(tmp_path / "p.tif", multiplied, alpha=1)
    found = read_photograph(path).pixels
    assert np.abs(found.astype(int) - plain).max() <= 3
    assert np.abs(Values().to_rgb8(found).astype(int) - as_trained(path, Values())).max() <= 2


@pytest.mark.parametrize("window", [None, (300.0, 2900.5)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_what_is_drawn_goes_back_into_the_photographs_own_values(
    dtype: str, shape: tuple[int, ...], window: tuple[float, float] | None
) -> None:
    """`to_rgb8` of what `from_rgb8` gives is what was drawn."""
    values, like = Values(12, window), smooth(dtype, shape)
    if shape and shape[0] in (2, 4):
        like[..., -1] |= 1 << (8 * like.dtype.itemsize - 1)  # at least half opaque: nothing shows otherwise
    drawn = smooth("uint8", (3,), seed=5)
    alpha = like[..., -1:] if shape and shape[0] in (2, 4) else None
    if shape in ((), (2,)):
        drawn[...] = drawn[..., :1]
    if alpha is not None:  # over white, nothing is darker than what shines through
        share = np.rint(alpha / np.iinfo(dtype).max * 255)
        drawn = np.maximum(drawn, 256 - share).astype(np.uint8)
    back = values.from_rgb8(drawn, like)
    assert back.dtype == like.dtype
    assert back.shape == like.shape
    assert alpha is None or np.array_equal(back[..., -1:], alpha)
    assert np.abs(values.to_rgb8(back).astype(int) - drawn).max() <= (0 if alpha is None else 2)


def test_grey_is_the_mean_by_rec_601() -> None:
    drawn = smooth("uint8", (3,))
    grey = np.asarray(Image.fromarray(drawn).convert("L")).astype(int)
    assert np.abs(Values().from_rgb8(drawn, smooth("uint8")).astype(int) - grey).max() <= 1
    fine = Values().from_rgb8(drawn, smooth("uint16"))
    assert len(np.unique(fine)) > 256  # sixteen bits hold more than eight give
    assert np.abs(fine / 257 - drawn @ [0.299, 0.587, 0.114]).max() < 0.01


@pytest.mark.parametrize(
    ("preprocessing", "match"),
    [
        ({"bit_depth": 13}, "bit depth: expected one of"),
        ({"bit_depth": "12"}, "bit_depth: expected one of"),
        ({"window": [5, 2]}, "window: expected a lower and a higher"),
        ({"window": [1]}, "window: expected two numbers"),
        ({"window": ["1", "2"]}, "window: expected two numbers"),
        ({"window": [float("nan"), 2.0]}, "window: expected a lower"),
    ],
)
def test_values_that_no_manifest_may_have(preprocessing: dict[str, object], match: str) -> None:
    with pytest.raises(UserError, match=match):
        Values.of(preprocessing)
    assert Values.of({"window": [1, 2.5], "bit_depth": 12}) == Values(12, (1.0, 2.5))


def test_photographs_of_a_folder_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "Thumbs.db", ".hidden.png", "notes.txt", "._a.JPG"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in find_photographs(tmp_path)] == ["a.JPG", "b.png"]
    with pytest.raises(UserError, match=r"expected photographs .*found none$"):
        find_photographs(tmp_path / "folder.png")
    (tmp_path / "folder.png/good").mkdir()
    with pytest.raises(UserError, match=r"give one of its folders, such as .*good"):
        find_photographs(tmp_path / "folder.png")
    with pytest.raises(UserError, match="expected a folder of photographs, found nothing"):
        find_photographs(tmp_path / "nowhere")


def test_files_that_are_no_photographs_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe.png: expected a regular file, found a pipe"):
        read_photograph(tmp_path / "pipe.png")
    (tmp_path / "text.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"text.png: is not a PNG"):
        read_photograph(tmp_path / "text.png")
    write_tiff(tmp_path / "f.tif", np.linspace(0, 1, 1600, dtype=np.float32).reshape(40, 40))
    with pytest.raises(UserError, match=r"f.tif: has floating point values, which 16 bits do not hold"):
        read_photograph(tmp_path / "f.tif")
    write_tiff(tmp_path / "i.tif", np.full((40, 40), -3, np.int32))
    with pytest.raises(UserError, match=r"i.tif: has 32-bit grey values"):
        read_photograph(tmp_path / "i.tif")


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    one = encode_png(np.zeros((1, 1), np.uint8))
    bomb = one.replace(b"\0\0\0\1\0\0\0\1", b"\0\0\xff\xff\0\0\xff\xff", 1)  # 65535 x 65535
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(UserError, match=r"bomb\.png"):
        read_photograph(tmp_path / "bomb.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(UserError, match=r"sparse.png: has more than 2.00 GiB"):
        read_photograph(tmp_path / "sparse.png")


def test_bytes_of_a_bundle_are_read_as_png_alone(tmp_path: Path) -> None:
    pixels = smooth("uint8")
    found = decode_photograph(encode_png(pixels), Path("backgrounds/000.png"), ("PNG",))
    assert isinstance(found, Photograph)
    assert np.array_equal(found.pixels, pixels)
    bmp = io.BytesIO()
    Image.fromarray(pixels).save(bmp, "BMP")
    with pytest.raises(UserError, match=r"backgrounds/000\.png"):
        decode_photograph(bmp.getvalue(), Path("backgrounds/000.png"), ("PNG",))


def test_pixels_cannot_be_written_over(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(encode_png(smooth("uint8")))
    with pytest.raises(ValueError, match="read-only"):
        read_photograph(tmp_path / "p.png").pixels[0, 0] = 1
