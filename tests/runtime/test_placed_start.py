"""A placed pair starts from the contrast of a real defect, and brings back what it changed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from seas_runtime import GeneratedPair
from seas_runtime.backends.contract import open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.placing import judging
from seas_runtime.methods.seas_options import SeasOptions
from seas_runtime.placement.appearance.contrast import Contrast
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.masks.shapes import TABLE, pack_shapes
from seas_runtime.placement.where.foreground import WHOLE
from tests.runtime.bundles import Toy, write_tiny_bundle


def opened(folder: Path, inside: float | None) -> Generator:
    """A bundle whose defects are of this brightness on 120; None for one without contrasts."""
    bundle = Bundle.read(write_tiny_bundle(folder, Toy(blend="fixed", placement=True)))
    colours = None if inside is None else [np.full(3, value, np.float32) for value in (inside, 120)]
    contrast = None if colours is None else Contrast(*colours)
    shapes = {
        defect: [replace(shape, contrast=contrast) for shape in found]
        for defect, found in bundle.shapes.items()
    }
    tables = {**bundle.tables, TABLE: pack_shapes(shapes)}
    return Generator(replace(bundle, tables=tables), open_backend("cpu", 1))


def drawn(generator: Generator, defect: str, strength: float | None) -> np.ndarray:
    photograph = np.random.default_rng(0).integers(110, 131, (90, 120, 3), dtype=np.uint8)
    mask = np.zeros((90, 120), bool)
    mask[40:56, 50:66] = True
    pair = generator.place(
        photograph, defect, mask, seed=3, options=SeasOptions(strength=strength), gate=False, guidance=1.0
    )
    return pair.image[44:52, 54:62].astype(int)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[float | None, Generator]:
    folder = tmp_path_factory.mktemp("start")
    return {inside: opened(folder / f"bundle {inside}", inside) for inside in (None, 0.0, 240.0)}


def test_a_strength_below_one_starts_from_the_contrast_of_a_real_defect(
    made: dict[float | None, Generator],
) -> None:
    at_part = {inside: drawn(generator, "stain", 0.4) for inside, generator in made.items()}
    darker, brighter = (at_part[inside] - at_part[None] for inside in (0.0, 240.0))
    assert darker.mean() == pytest.approx(-120, abs=30)
    assert brighter.mean() == pytest.approx(120, abs=30)
    whole = {inside: drawn(generator, "stain", None) for inside, generator in made.items()}
    assert np.array_equal(whole[0.0], whole[None])
    assert np.array_equal(whole[240.0], whole[None])


def test_what_stays_normal_has_no_contrast(made: dict[float | None, Generator]) -> None:
    for inside in (0.0, 240.0):
        assert np.array_equal(drawn(made[inside], "good", 0.4), drawn(made[None], "good", 0.4))


def test_a_shape_with_a_look_starts_from_it(tmp_path: Path) -> None:
    """The toy's graphs change a little; what is dark and bright stays where the look has it."""
    pixels = np.full((60, 60, 3), 120, np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    pixels[20:40, 20:30], pixels[20:40, 30:40] = 60, 200
    shapes = cut_shapes(mask, WHOLE, pixels)
    bundle = Bundle.read(write_tiny_bundle(tmp_path / "b", Toy(blend="fixed", placement=True)))
    generator = Generator(
        replace(bundle, tables={**bundle.tables, TABLE: pack_shapes({"stain": shapes})}),
        open_backend("cpu", 1),
    )
    photograph = np.full((90, 120, 3), 120, np.uint8)
    options = SeasOptions(strength=0.3)
    for seed in range(4):
        pair = generator.place(photograph, "stain", seed=seed, options=options, gate=False, guidance=1.0)
        changed = pair.image.astype(int)[..., 0] - 120
        inside = changed[ndimage.binary_erosion(placed_mask(pair, photograph), iterations=3)]
        assert (inside < -20).mean() > 0.2
        assert (inside > 30).mean() > 0.2


def test_where_the_head_finds_another_thing_than_was_laid_the_placement_is_the_mask(
    made: dict[float | None, Generator], monkeypatch: pytest.MonkeyPatch
) -> None:
    photograph = np.random.default_rng(0).integers(110, 131, (90, 120, 3), dtype=np.uint8)
    found = {}
    for inside, tau in ((0.0, 1.0), (None, 1.0), (0.0, 0.0)):
        mask = np.zeros((90, 120), bool)
        mask[20:70, 30:90] = True
        pair = made[inside].place(
            photograph, "stain", mask, seed=3, options=SeasOptions(strength=0.4), gate=False, tau=tau
        )
        found[inside, tau] = np.array_equal(pair.mask > 0, mask), pair.record.origin["mask"]
    assert found[0.0, 1.0] == (True, "placed")  # nothing is that probable
    assert found[None, 1.0] == (False, "refined")  # nothing was laid: the head alone knows
    assert found[0.0, 0.0] == (True, "placed")  # it finds all of it, and as much around it
    monkeypatch.setattr(judging, "AGREED", 0.1)
    pair = made[0.0].place(
        photograph, "stain", mask, seed=3, options=SeasOptions(strength=0.4), gate=False, tau=0.0
    )
    assert (pair.record.origin["mask"], np.array_equal(pair.mask > 0, mask)) == ("refined", False)


def placed_mask(pair: GeneratedPair, photograph: np.ndarray) -> np.ndarray:
    """Where the pair was changed most: its placement."""
    return np.asarray(ndimage.binary_fill_holes(np.abs(pair.image.astype(int) - photograph).max(-1) > 25))
