"""What a bundle carries for placed pairs: shapes and photographs, and nothing of either is believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seas_runtime.bundle.archive import pack_bundle, unpack_bundle
from seas_runtime.bundle.placement.placing import open_placer
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.photographs.png import encode_png
from seas_runtime.placement.options import PlacementOptions
from tests.runtime.bundles import DEFECTS, Toy, toy_backgrounds, write_tiny_bundle
from tests.runtime.hostile import rehash, replaced


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "placed", Toy(placement=True))


def test_shapes_and_photographs_of_a_bundle(bundle: Path) -> None:
    found = Bundle.read(bundle)
    assert sorted(found.shapes) == sorted(DEFECTS)
    assert found.shapes["stain"][0].mask.shape == (12, 10)
    assert len(found.backgrounds) == 2
    for photograph, pixels in zip(found.backgrounds, toy_backgrounds(), strict=True):
        assert photograph.pixels.dtype == pixels.dtype
        assert np.array_equal(photograph.pixels, pixels)
    assert found.backgrounds[-1].name == "001.png"
    assert [one.name for one in found.backgrounds[:1]] == ["000.png"]
    assert len(found.backgrounds[0].sha256) == 64


def test_bundles_of_earlier_versions_have_neither(tiny_bundle: Path) -> None:
    found = Bundle.read(tiny_bundle)
    assert found.shapes == {}
    assert len(found.backgrounds) == 0


@pytest.mark.parametrize("verify", [True, False])
def test_a_photograph_that_was_changed_is_not_decoded(bundle: Path, verify: bool) -> None:
    found = Bundle.read(bundle, verify)
    file = bundle / "backgrounds/000.png"
    first = found.backgrounds[0]
    data = bytearray(file.read_bytes())
    data[60] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"backgrounds/000\.png: expected sha256"):
        _ = found.backgrounds[0]
    assert first.height == 90
    file.write_bytes(bytes(data[:-1]))
    with pytest.raises(UserError, match=r"backgrounds/000\.png: expected \d+ bytes"):
        _ = found.backgrounds[0]
    (bundle / "backgrounds/001.png").unlink()
    (bundle / "backgrounds/001.png").symlink_to("000.png")
    with pytest.raises(UserError, match="found a symbolic link"):
        _ = found.backgrounds[1]


BOMB = encode_png(np.zeros((1, 1), np.uint8)).replace(b"\0\0\0\1\0\0\0\1", b"\0\0\xff\xff\0\0\xff\xff", 1)


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"BM" + bytes(100), BOMB, encode_png(np.zeros((90, 90), np.uint8))[:70]]
)
def test_a_hostile_photograph_is_refused_when_it_is_asked_for(bundle: Path, data: bytes) -> None:
    replaced("backgrounds/000.png", data)(bundle)
    found = Bundle.read(bundle)
    with pytest.raises(UserError, match=r"backgrounds/000\.png"):
        _ = found.backgrounds[0]
    assert found.backgrounds[1].width == 120


def test_other_files_among_the_photographs_are_refused(bundle: Path) -> None:
    (bundle / "backgrounds/000.png").rename(bundle / "backgrounds/first.png")
    rehash(bundle)
    with pytest.raises(UserError, match=r"first\.png: expected backgrounds/000\.png and so on"):
        Bundle.read(bundle)


def test_shapes_of_another_defect_are_refused(bundle: Path) -> None:
    values = json.loads((bundle / "manifest.json").read_text())
    values["defects"] = ["broken_large"]
    del values["prompts"]["stain"]
    (bundle / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(
        UserError, match=r"placement\.safetensors: expected shapes of the bundle's defects, found 'stain'"
    ):
        Bundle.read(bundle)


def test_regions_are_true_or_false(tmp_path: Path) -> None:
    generation = {"mask_steps": 3, "tau": 0.2}
    found = Bundle.read(write_tiny_bundle(tmp_path / "a", generation={**generation, "regions": True}))
    assert found.manifest.generation["regions"] is True
    with pytest.raises(UserError, match=r"generation\.regions: expected true or false, found 1"):
        write_tiny_bundle(tmp_path / "b", generation={**generation, "regions": 1})


def test_photographs_and_shapes_travel(bundle: Path, tmp_path: Path) -> None:
    packed = pack_bundle(bundle, tmp_path / "b.zip")
    found = unpack_bundle(tmp_path / "b.zip", tmp_path / "unpacked")
    assert found.fingerprint == packed.fingerprint
    assert np.array_equal(found.backgrounds[0].pixels, toy_backgrounds()[0])
    assert sorted(found.shapes) == sorted(DEFECTS)


def test_a_placer_of_a_bundle(bundle: Path, tmp_path: Path) -> None:
    """The part is told by the bundle, else by its photographs, else by those at hand."""
    (colour,) = (pixels for pixels in toy_backgrounds() if pixels.ndim == 3)
    whole = (0, 0, 1, 1)
    placer = open_placer(Bundle.read(bundle), PlacementOptions())
    assert placer.part(colour).box == pytest.approx((15 / 90, 20 / 120, 75 / 90, 100 / 120))
    placed = placer.draw(np.random.default_rng(0), "stain", colour)
    assert not placed.full((90, 120))[:13].any()
    values = json.loads((bundle / "manifest.json").read_text())
    values["tables"].pop("placement")
    (bundle / "manifest.json").write_text(json.dumps(values))
    (bundle / "tables/placement.safetensors").unlink()
    rehash(bundle)
    assert open_placer(Bundle.read(bundle), PlacementOptions()).part(colour).box != whole
    for index in (0, 1):
        (bundle / f"backgrounds/{index:03d}.png").unlink()
    rehash(bundle)
    bare = Bundle.read(bundle)
    assert open_placer(bare, PlacementOptions()).part(colour).box == whole
    assert open_placer(bare, PlacementOptions(), [colour]).part(colour).box != whole
