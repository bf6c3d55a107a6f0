"""A placed pair follows from its seed, index and attempt alone; what cannot be made is refused at once."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.bundle.reading import hash_files, read_manifest_file, write_manifest
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.request import Placing
from tests.runtime.placing.photographs import write_photographs, write_placing_bundle

PLACING = Placing()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_placing_bundle(tmp_path_factory.mktemp("placing") / "bundle")


@pytest.fixture(scope="module")
def placing(bundle: Path) -> Generator:
    """A generator that draws into the bundle's own photographs, of 16 bits grey and of 8 bits RGB."""
    return Generator.open(bundle, threads=1)


def assert_same(pair: GeneratedPair, other: GeneratedPair) -> None:
    """Both are of the same draws; pixels may be a level apart, as another batch rounds."""
    attempts, others = pair.record.attempts, other.record.attempts
    assert [item.origin for item in attempts] == [item.origin for item in others]
    assert [item.rejected for item in attempts] == [item.rejected for item in others]
    assert pair.image.dtype == other.image.dtype
    level = 1 if pair.image.dtype == np.uint8 else 257
    assert np.abs(pair.image.astype(int) - other.image).max() <= level
    assert pair.probability is not None
    assert other.probability is not None
    assert np.abs(pair.probability - other.probability).max() < 1e-5


def test_pairs_and_retries_do_not_depend_on_the_batch(placing: Generator) -> None:
    one, three, eight = (
        list(placing.generate("broken_large", 12, 3, batch=batch, placing=PLACING)) for batch in (1, 3, 8)
    )
    for pair, *others in zip(one, three, eight, strict=True):
        for other in others:
            assert_same(pair, other)
    assert {pair.image.dtype for pair in one} == {np.dtype(np.uint8), np.dtype(np.uint16)}
    assert max(len(pair.record.attempts) for pair in one) > 1


def test_retries_draw_another_placement(placing: Generator) -> None:
    made = placing.generate("broken_large", 12, 3, batch=4, placing=PLACING)
    retried = [pair.record for pair in made if len(pair.record.attempts) > 1]
    assert retried
    for record in retried:
        places = [
            str((a.origin["photograph"], a.origin["placement"], a.origin["region"])) for a in record.attempts
        ]
        assert len(set(places)) == len(places)
        assert record.origin == record.attempts[-1].origin
        assert [attempt.attempt for attempt in record.attempts] == list(range(len(places)))


def test_one_photograph_in_memory_is_as_one_in_a_folder(bundle: Path, tmp_path: Path) -> None:
    every = write_photographs(tmp_path / "all")
    for name in ("colour.png", "wide_grey.png", "turned.jpg"):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        shutil.copy(tmp_path / "all" / name, folder)
        generator = Generator.open(bundle, threads=1)
        generator.draw_onto(folder)
        (expected,) = generator.generate("stain", 1, 9, start=6, placing=PLACING, gate=False)
        pixels = every[name].copy()
        pair = generator.place(pixels, "stain", seed=9, index=6, gate=False)
        assert np.array_equal(pixels, every[name])
        assert np.array_equal(pair.image, expected.image)
        assert np.array_equal(pair.mask, expected.mask)
        assert np.array_equal(pair.probability, expected.probability)
        assert pair.region == expected.region
        for key in ("region", "placement"):
            assert pair.record.origin[key] == expected.record.origin[key]
        other = generator.place(pixels, "stain", seed=10, index=6, gate=False)
        assert other.record.origin["placement"] != pair.record.origin["placement"]


def test_a_mask_of_ones_own_says_where(placing: Generator) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120), dtype=np.uint8)
    mask = np.zeros((90, 120), bool)
    mask[30:40, 50:70] = True
    mask[33:36, 55:60] = False
    pair = placing.place(pixels, "stain", mask, gate=False, placing=Placing(mask="placed"))
    assert np.array_equal(pair.mask > 0, mask)
    changed = pair.image != pixels
    assert changed[mask].mean() > 0.5
    assert pair.region is not None
    inside = np.zeros_like(mask)
    inside[pair.region.top :, pair.region.left :][: pair.region.side, : pair.region.side] = True
    assert inside[mask].all()
    assert not changed[~inside].any()


def test_photographs_and_masks_that_cannot_be_used(placing: Generator) -> None:
    pixels = np.zeros((90, 120), np.uint8)
    with pytest.raises(
        UserError, match=r"mask: expected the photograph's size, \[90, 120\], found \[9, 12\]"
    ):
        placing.place(pixels, "stain", np.ones((9, 12), bool))
    with pytest.raises(UserError, match="mask: expected a defect, found none"):
        placing.place(pixels, "stain", np.zeros((90, 120), bool))
    for wrong in (pixels.astype(np.float32), np.zeros((90, 120, 5), np.uint8), np.zeros(90, np.uint8)):
        with pytest.raises(UserError, match=r"photograph: expected uint8 or uint16 \[H, W\]"):
            placing.place(wrong, "stain")
    with pytest.raises(UserError, match="photograph: expected pixels"):
        placing.place(pixels[:0], "stain")


def test_a_bundle_without_photographs_needs_some(bundle: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(bundle, tmp_path / "bare"))
    shutil.rmtree(bare / "backgrounds")
    manifest, _ = read_manifest_file(bare)
    write_manifest(bare, dataclasses.replace(manifest, files=hash_files(bare)))
    generator = Generator.open(bare, threads=1)
    request = DatasetRequest(("all",), 2, placing=PLACING)
    with pytest.raises(UserError, match=r"carries no photographs to draw into; give a folder.*--onto"):
        list(generator.generate("stain", 1, placing=PLACING))
    with pytest.raises(UserError, match="carries no photographs"):
        write_dataset(generator, request, tmp_path / "out")
    assert not [path for path in tmp_path.glob("out/*") if not path.name.startswith(".")]
    write_photographs(tmp_path / "line")
    generator.draw_onto(tmp_path / "line")
    assert write_dataset(generator, request, tmp_path / "out").defects["stain"].pairs == 2


def test_a_photograph_that_changes_meanwhile(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    Image.new("L", (120, 90), 40).save(folder / "a.png")
    generator = Generator.open(bundle, threads=1)
    generator.draw_onto(folder)
    Image.new("L", (120, 90), 41).save(folder / "a.png")
    with pytest.raises(UserError, match=r"a\.png: written while pairs were made; run the command again"):
        list(generator.generate("stain", 1, placing=PLACING))
    (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a\.png"):
        list(generator.generate("stain", 1, placing=PLACING))
