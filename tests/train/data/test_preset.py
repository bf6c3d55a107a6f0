"""What photographs are of, whatever their folders look like; and how they are scaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seas_export.config.build import BuildConfig, load_config
from seas_export.pipeline.training.training import photographs_by
from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.data import Layout, PhotographsConfig, Product, Regions, load_product
from seas_train.data.images import Preprocessing, Resize, fit_image
from seas_train.data.images.fit import fit_foreground
from seas_train.data.published import as_published
from seas_train.methods.seas.training import defaults
from tests.bases import IMAGE_SIZE


@pytest.mark.parametrize(
    ("preset", "guidance", "turned"),
    [("visa", 2.0, False), ("mvtec3d", 5.0, True), ("mvtec", 8.0, True), (None, 8.0, True)],
)
@pytest.mark.parametrize("rules", [None, "authors"])
def test_a_converted_folder_is_what_the_preset_says(
    tiny_base: Base,
    tiny_product: Product,
    preset: str | None,
    guidance: float,
    turned: bool,
    rules: str | None,
) -> None:
    product = as_published(tiny_product, preset)
    config = defaults(tiny_base, product, rules)
    small = 3.5  # our own limit for bases as small
    assert config.generation.guidance == (guidance if rules else min(guidance, small))
    assert (config.finetune.rotate, config.finetune.flip) == (turned, turned)
    assert product.normals == tiny_product.normals
    assert product.layout is Layout(preset or "mvtec")


def test_a_preset_that_is_none_is_refused(tiny_product: Product) -> None:
    with pytest.raises(UserError, match=r"--preset: expected mvtec \| visa \| mvtec3d, found 'btad'"):
        as_published(tiny_product, "btad")
    with pytest.raises(UserError, match="preset"):
        load_config(None, {"product": "p", "preset": "btad"})
    assert load_config(None, {"product": "p", "preset": "visa"}).preset == "visa"
    assert BuildConfig().preset is None


def triangle(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Bilinear scaling to a smaller size as PIL has it: a triangle over all pixels that a new one covers."""
    old = len(image)
    scale = old / size
    centres = (np.arange(size)[:, None] + 0.5) * scale
    weights = (1 - np.abs(np.arange(old)[None] + 0.5 - centres) / scale).clip(0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ image @ weights.T


def test_bilinear_scaling_of_photograph_and_mask() -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (96, 96)).astype(np.uint8)
    mask = np.zeros((96, 96), np.uint8)
    mask[20:47, 33:60] = 255
    both = Preprocessing(32, resize=Resize.BILINEAR)
    found = fit_image(Image.fromarray(np.stack([grey] * 3, axis=-1)), both)
    assert np.abs(found[..., 0] - triangle(grey.astype(float), 32)).max() <= 1  # PIL rounds twice
    cut = triangle(mask.astype(float), 32)
    sure = np.abs(cut - 127.5) > 1
    assert (fit_foreground(Image.fromarray(mask), both) == (cut > 127))[sure].all()
    ours = Preprocessing(32)
    assert not np.array_equal(fit_image(Image.fromarray(np.stack([grey] * 3, axis=-1)), ours), found)


def test_how_pictures_are_scaled_is_written_down_and_read_again() -> None:
    both = Preprocessing(32, resize=Resize.BILINEAR)
    assert Preprocessing.from_dict(both.to_dict()) == both
    assert "resize" not in Preprocessing(32).to_dict()  # fingerprints of older checkpoints hold


def test_the_authors_rules_scale_bilinearly(tiny_product: Product) -> None:
    config = PhotographsConfig()
    assert photographs_by("authors", None, config).resize is Resize.BILINEAR
    assert photographs_by("paper", None, config).resize is photographs_by(None, None, config).resize is None
    said = PhotographsConfig(resize=Resize.SHARP, regions=Regions.ON)
    assert photographs_by("authors", None, said) == said
    ours, theirs = (
        load_product(Path(tiny_product.root), photographs_by(rules, None, config), size=IMAGE_SIZE)
        for rules in (None, "authors")
    )
    assert theirs.preprocessing.resize is Resize.BILINEAR
    assert ours.fingerprint != theirs.fingerprint


def test_rules_and_published_data_sets_are_of_whole_pictures() -> None:
    config = PhotographsConfig()
    assert photographs_by(None, None, config).regions is Regions.AUTO
    for rules, preset in (("paper", None), ("authors", None), (None, "visa")):
        assert photographs_by(rules, preset, config).regions is Regions.OFF
        asked = photographs_by(rules, preset, PhotographsConfig(regions=Regions.ON))
        assert asked.regions is Regions.ON
