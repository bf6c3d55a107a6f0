"""No exception of a decoder ends a check, and none of them says anything by itself."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from decoders import inspect as inspect_files
from decoders import mutate, seeds, write_product
from PIL import Image

from seas_train.data import Kind, PhotographsConfig, Preprocessing, inspect_product, read_image
from seas_train.data.facts import decode
from seas_train.data.images import UnreadableImage, open_image, quiet_decoders
from tests.train.data.product_folders import photograph, save, write_mvtec


def test_mutated_pictures_are_named_or_read(tmp_path: Path) -> None:
    """The short form of benchmarks/decoders.py."""
    write_product(tmp_path / "part", 160, seed=7)
    outcome = inspect_files(tmp_path / "part")
    assert outcome.faults == []
    assert outcome.files == 162
    assert 30 < outcome.left_out < 140


@pytest.mark.parametrize("name", sorted(seeds()))
def test_every_format_is_read_whole_and_cut_short(tmp_path: Path, name: str) -> None:
    data = seeds()[name]
    (tmp_path / name).write_bytes(data)
    pixels = read_image(tmp_path / name, Preprocessing(48))
    assert pixels.std() > 10
    (tmp_path / name).write_bytes(data[: len(data) // 3])
    with pytest.raises(UnreadableImage, match=r"damaged or cut short|not a PNG|a kind that is not read"):
        read_image(tmp_path / name, Preprocessing(48))


@pytest.mark.parametrize(
    "error",
    [ValueError("image has wrong mode"), MemoryError(), RecursionError(), OverflowError(), SystemError("x")],
)
def test_whatever_a_conversion_raises_is_that_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Was: "unexpected ValueError", no report, the file not named."""
    product = write_mvtec(tmp_path / "bottle")
    look = decode.image_facts

    def fail(opened: object) -> object:
        if opened.path.name in ("001.png", "bad.png"):  # type: ignore[attr-defined]
            raise error
        return look(opened)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "image_facts", fail)
    report = inspect_product(product, size=32)
    named = [
        p.path.relative_to(product).as_posix() for p in report.problems if p.path and "left out" in p.message
    ]
    assert named == ["train/good/001.png", "test/good/001.png", "test/crack/001.png"]
    assert report.usable


def test_libtiff_does_not_write_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    product = write_mvtec(tmp_path / "bottle")
    data = seeds()["fax.tif"]
    for index in range(8):  # the strip's own bytes: each is a bad code word
        (product / f"train/good/{index}.tif").write_bytes(data[:8] + bytes([31 * index]) * 20 + data[28:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = inspect_product(product, size=32)
    assert capfd.readouterr() == ("", "")
    assert any(p.kind is Kind.UNREADABLE for p in report.problems) or report.usable


def test_stderr_is_there_again_afterwards_even_with_threads(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        for _ in range(50):
            with quiet_decoders():
                os.write(2, b"hidden")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A TIFF and a BMP of 60,000 x 60,000 in a few bytes; the PNG is in the table of bad products."""
    for name, at, form in (("rgb.bmp", 18, "<u4"), ("rgb.tif", None, "<u4")):
        data = bytearray(seeds()[name])
        if at is None:
            start = int.from_bytes(data[4:8], "little")
            count = int.from_bytes(data[start : start + 2], "little")
            for entry in range(start + 2, start + 2 + 12 * count, 12):
                if int.from_bytes(data[entry : entry + 2], "little") in (256, 257):
                    data[entry + 2 : entry + 12] = b"\x04\0\x01\0\0\0" + np.array(60_000, form).tobytes()
        else:
            data[at : at + 8] = np.array([60_000, 60_000], form).tobytes()
        (tmp_path / name).write_bytes(bytes(data))
        with pytest.raises(UnreadableImage, match="has more than 179 megapixels"):
            open_image(tmp_path / name)


def test_mutations_follow_from_their_seed() -> None:
    import random

    data = seeds()["rgb.png"]
    assert mutate(data, data, random.Random(3)) == mutate(data, data, random.Random(3))


def test_a_photograph_whose_exif_turns_it_is_found_turned_in_a_thumbnail(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(photograph(1, (3000, 1000)), tmp_path / "p.jpg", exif=exif)
    opened = open_image(path, thumbnail=True)
    assert opened.is_thumbnail
    assert opened.size == (1000, 3000)
    assert opened.stored.size == (1500, 500)


def test_spare_pngs_are_checked_by_their_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of normals, large ones beyond the first hundreds are not decoded; damaged and blank ones
    are named all the same."""
    product = write_mvtec(tmp_path / "bottle", normals=12, test_normals=0)
    normals = product / "train/good"
    data = bytearray((normals / "005.png").read_bytes())
    data[len(data) // 2] ^= 4
    (normals / "005.png").write_bytes(bytes(data))
    (normals / "006.png").write_bytes((normals / "006.png").read_bytes()[:-30])
    (normals / "007.png").write_bytes(b"")
    save(Image.new("RGB", (48, 40), "grey"), normals / "008.png")
    save(photograph(9), normals / "009.jpg")
    (normals / "009.jpg").write_bytes((normals / "009.jpg").read_bytes()[:300])
    whole = inspect_product(product, size=32)
    monkeypatch.setattr("seas_train.data.checking.files.DECODED", 2)
    monkeypatch.setattr("seas_runtime.photographs.decode.LARGE", 1)
    counted: list[Path] = []
    look = decode.open_image

    def count(path: Path, thumbnail: bool = False) -> object:
        counted.append(path)
        return look(path, thumbnail)

    monkeypatch.setattr(decode, "open_image", count)
    spare = inspect_product(product, PhotographsConfig(normals=2), size=32)
    kinds = (Kind.UNREADABLE, Kind.BLANK)
    named = [(p.kind, p.path.name, p.message) for p in spare.problems if p.kind in kinds and p.path]
    assert [name for _, name, _ in named] == ["005.png", "006.png", "007.png", "008.png", "009.jpg"]
    assert named == [(p.kind, p.path.name, p.message) for p in whole.problems if p.kind in kinds and p.path]
    assert not {"003.png", "004.png", "010.png"} & {path.name for path in counted if path.parent == normals}
