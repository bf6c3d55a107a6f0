"""Crops, tiles and networks of a proof."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from seas_train.data.images import Preprocessing
from seas_train.proof.crops import BRIGHTEST, Sources, draw_batch, lit
from seas_train.proof.pictures import Pictures, Sample
from seas_train.proof.segmenters.contract import Segmenter
from seas_train.proof.tiles import find_defects, starts
from tests.products import write_tiny_product


class Brightness(Segmenter):
    """Calls defect what is bright: its map is known."""

    multiple = 8

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.mean(1) - 0.5


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    product = write_tiny_product(tmp_path / "plate", pairs=2)
    return tuple(
        Sample(product / f"test/Spot/{i:03d}.png", product / f"ground_truth/Spot/{i:03d}_mask.png", "Spot")
        for i in range(2)
    )


@pytest.mark.parametrize("size", [(50, 37), (200, 130), (8, 8), (161, 64)])
def test_tiles_make_the_map_of_the_whole(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    found = find_defects(Brightness(), picture, "cpu", tile=96)
    assert np.allclose(found, picture.astype(np.float64).mean(2) / 255 - 0.5, atol=1e-5)


def test_tiles_overlap_and_cover() -> None:
    found = starts(1000, 320)
    assert found[0] == 0
    assert found[-1] == 1000 - 320
    assert all(second - first <= 320 - 64 for first, second in itertools.pairwise(found))
    assert starts(320, 320) == [0]


def test_a_mask_stays_on_its_defect_when_a_crop_is_turned(samples: tuple[Sample, ...]) -> None:
    """The spots are by far the brightest pixels."""
    pictures = Pictures(Preprocessing(64))
    batch = draw_batch(np.random.default_rng(1), pictures, Sources(samples, samples), 32, 16)
    assert batch.pictures.shape == (16, 3, 32, 32)
    assert batch.defective[::2].all()
    for image, mask in zip(batch.pictures[::2], batch.masks[::2] > 0, strict=True):
        inner, outer = image.mean(0)[mask], image.mean(0)[~mask]
        assert inner.median() > outer.quantile(0.95)


def test_more_light_multiplies_and_leaves_no_picture_white() -> None:
    """Between a dark picture's two halves the contrast grows with its brightness, as with an exposure."""
    dark = torch.full((400, 3, 4, 4), 0.2)
    dark[..., :2] = 0.1
    few, many = (lit(np.random.default_rng(0), dark, light) for light in (1.0, 3.0))
    contrasts = [(one[..., 2:] - one[..., :2]).mean((1, 2, 3)) for one in (few, many)]
    assert 0.08 < contrasts[0].min() < contrasts[0].max() < 0.12
    assert contrasts[1].min() < 0.04
    assert contrasts[1].max() > 0.26
    levels = many.mean((1, 2, 3))
    ratio = contrasts[1] / levels.clamp_min(0.05)
    assert ratio[levels > 0.3].std() < 0.2 * ratio[levels > 0.3].mean()
    bright = lit(np.random.default_rng(0), torch.full((400, 3, 4, 4), 0.6), 3.0).mean((1, 2, 3))
    assert bright.max() < (BRIGHTEST - 0.5) * 1.15 + 0.5 + 0.08 + 1e-6
    assert bright.min() < 0.25


def test_the_share_of_made_pairs_is_as_asked_for(samples: tuple[Sample, ...]) -> None:
    asked: list[Sample] = []

    class Watched(Pictures):
        def read(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
            asked.append(sample)
            return super().read(sample)

    real, made = samples[:1], samples[1:]
    random = np.random.default_rng(0)
    for _ in range(40):
        draw_batch(random, Watched(Preprocessing(64)), Sources(real, real, made, made, 0.75), 32, 8)
    assert asked.count(made[0]) / len(asked) == pytest.approx(0.75, abs=0.07)


def test_pictures_leave_memory_when_there_is_no_room(samples: tuple[Sample, ...]) -> None:
    pictures = Pictures(Preprocessing(64), room=64 * 64 * 4)
    for sample in samples * 2:
        image, mask = pictures.read(sample)
        assert image.shape == (64, 64, 3)
        assert mask.any()
    assert len(pictures._kept) == 1


def test_a_smaller_scale_shrinks_picture_and_mask(samples: tuple[Sample, ...]) -> None:
    small = Sample(samples[0].image, samples[0].mask, "Spot", 0.5)
    image, mask = Pictures(Preprocessing(64)).read(small)
    assert image.shape == (32, 32, 3)
    assert image[mask].mean() > 200
    assert mask.sum() == pytest.approx(Pictures(Preprocessing(64)).read(samples[0])[1].sum() / 4, rel=0.2)


def test_imagenets_weights_give_the_features_of_the_package_they_are_from() -> None:
    """timm's names are other ones; what comes out of the last block is the same."""
    if importlib.util.find_spec("segmentation_models_pytorch") is None:  # its import wants what ours declares
        pytest.skip("the extra `prove` is not installed")
    lite = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed"
    )
    from seas_train.proof.segmenters.lite0 import load_weights, weights_file
    from seas_train.proof.segmenters.smp import LibrarySegmenter

    torch.set_num_threads(1)
    ours = LibrarySegmenter("Unet", False).network.encoder.eval()
    load_weights(ours)
    theirs = lite.EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(weights_file(), weights_only=True))
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        made = ours(pictures)[-1]
        there = theirs.eval()._swish(theirs._bn0(theirs._conv_stem(pictures)))
        for block in theirs._blocks:
            there = block(there)
    assert made.shape == there.shape
    assert torch.allclose(made, there, atol=1e-3)
