"""Each rule of the authors' training against a reference written from its description, in plain numpy."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray

from seas_train.data import Layout, Product
from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.finetune.losses import alignment_loss, fraction_mask
from seas_train.methods.seas.mask_head.config import CoarseTarget, FocalMean
from seas_train.methods.seas.mask_head.latents import ancestral_sample, previous_sample
from seas_train.methods.seas.mask_head.losses import FocalRules, mask_at, mask_loss
from seas_train.methods.seas.mask_head.network.both_paths import BothPaths, NormalPath
from seas_train.methods.seas.mask_head.network.normalization import StoredBatchNorm
from seas_train.methods.seas.reproduce import Reproduced, reproduced
from tests.train.mask_head.tiny_heads import inputs, tiny_head

Array = NDArray[np.float64]
AUTHORS = FocalRules(smoothing=1e-5, mean=FocalMean.MAPS, coarse_target=CoarseTarget.WHOLE)


def bilinear(image: Array, size: int) -> Array:
    """[H, W] at size x size: each new pixel's centre between the four old ones around it."""
    old = len(image)
    at = ((np.arange(size) + 0.5) * old / size - 0.5).clip(0)
    low = np.floor(at).astype(int)
    high, part = (low + 1).clip(max=old - 1), at - low
    rows = image[low] * (1 - part)[:, None] + image[high] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, high] * part


def max_pooled(image: Array, size: int) -> Array:
    step = len(image) // size
    return image.reshape(size, step, size, step).max(axis=(1, 3))


def masks_64() -> torch.Tensor:
    """Across cells, aligned to cells, and of a few pixels."""
    masks = torch.zeros(3, 1, 64, 64)
    masks[0, 0, 12:36, 20:52] = 1
    masks[1, 0, 16:32, 8:40] = 1
    masks[2, 0, 40:44, 41:44] = 1
    return masks


@pytest.mark.parametrize("size", [4, 2])
def test_mask_of_the_alignment_loss_keeps_fractions(size: int) -> None:
    masks = masks_64()
    found = fraction_mask(masks, 8, size).numpy()
    expected = np.stack([max_pooled(bilinear(mask[0].numpy().astype(float), 8), size) for mask in masks])
    assert np.abs(found - expected).max() <= 1e-5
    assert ((found[0] > 0) & (found[0] < 1)).any()
    assert set(found[1].ravel()) <= {0.0, 1.0}


@pytest.mark.parametrize("touched", [False, True])
def test_alignment_loss_with_fractions(touched: bool) -> None:
    """The normal token's term where the mask is 1, or over 0; over the batch, as the authors' maps are."""
    random = np.random.default_rng(0)
    anomaly, normal = random.random((2, 3, 4, 4))
    mask = np.stack([max_pooled(bilinear(m[0].numpy().astype(float), 8), 4) for m in masks_64()])

    def scaled(maps: Array) -> Array:
        return (maps - maps.min()) / (maps.max() - maps.min())

    where = mask > 0 if touched else mask == 1
    expected = ((scaled(anomaly) - mask) ** 2).mean() + (scaled(normal)[where] ** 2).mean()
    tensors = (torch.from_numpy(array).float() for array in (anomaly, normal, mask))
    found = float(alignment_loss(*tensors, over_batch=True, touched=touched))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("over_batch", [False, True])
def test_alignment_loss_of_a_tiny_mask_is_finite(over_batch: bool) -> None:
    """No pixel is 1: a mean over none would not be a number."""
    mask = fraction_mask(masks_64()[2:], 8, 4)
    assert 0 < float(mask.max()) < 1
    maps = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = alignment_loss(maps[0], maps[1], mask, over_batch=over_batch)
    loss.backward()
    assert bool(loss.isfinite())
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


def test_coarse_target_is_whole_pixels() -> None:
    masks = masks_64()[:, 0]
    found = mask_at(masks, 8, 8, CoarseTarget.WHOLE).numpy()
    expected = np.stack([bilinear(mask.numpy().astype(float), 8) == 1 for mask in masks])
    assert (found == expected).all()
    assert found.sum(axis=(1, 2)).tolist()[1:] == [8, 0]  # of the tiny one nothing is left
    assert mask_at(masks, 8, 8).sum() > found.sum()


def focal(logits: Array, target: Array, smoothing: float = 1e-5) -> Array:
    """The focal loss of each pixel: [B,2,H,W] and [B,H,W] to [B,H,W]."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = (e / e.sum(axis=1, keepdims=True))[:, 1]
    truth = np.where(target > 0, p, 1 - p)
    truth = (1 - smoothing) * truth + smoothing * (1 - truth) + smoothing
    return -((1 - truth) ** 2) * np.log(truth)


@pytest.mark.parametrize("normals", [1, 2])
def test_focal_loss_is_the_mean_over_all_maps(normals: int) -> None:
    """Also of batches that are not half normals: each map counts alike."""
    generator = torch.Generator().manual_seed(0)
    fine = 6 * torch.randn(2 + normals, 2, 64, 64, generator=generator)
    coarse = 6 * torch.randn(2 + normals, 2, 8, 8, generator=generator)
    fine[0, 0] += 200  # sure, and wrong in the mask
    mask = masks_64()[:2, 0]
    empty = np.zeros((normals, 64, 64))
    of_fine = focal(fine.double().numpy(), np.concatenate([mask.numpy(), empty])).mean()
    small = np.stack([bilinear(m.numpy().astype(float), 8) == 1 for m in mask])
    of_coarse = focal(coarse.double().numpy(), np.concatenate([small, empty[:, :8, :8]])).mean()
    assert float(mask_loss(fine, coarse, mask, AUTHORS).total) == pytest.approx(
        of_fine + of_coarse, rel=1e-5, abs=1e-5
    )


def test_ours_is_twice_the_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    fine, coarse = (torch.randn(4, 2, size, size, generator=generator) for size in (64, 8))
    mask = masks_64()[:2, 0]
    ours = mask_loss(fine, coarse, mask)
    theirs = mask_loss(fine, coarse, mask, FocalRules(mean=FocalMean.MAPS))
    assert float(ours.total) == pytest.approx(2 * float(theirs.total), rel=1e-5)


def test_normals_features_are_normed_with_the_defects_refined_ones() -> None:
    head = tiny_head().train()
    low, mid, taps = inputs(4)
    features = head.features(low, mid).detach()
    refined = head.refine(features[:2], [tap[:2] for tap in taps]).detach()
    upsampled = torch.stack(
        [
            torch.stack([torch.from_numpy(bilinear(c.double().numpy(), 32)) for c in sample])
            for sample in features[2:]
        ]
    )
    joined = torch.cat([refined.double(), upsampled])
    norm, convolution = head.out_layer[0], head.out_layer[2]
    mean = joined.mean(dim=(0, 2, 3), keepdim=True)
    spread = joined.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    gain, bias = (part.detach().double().view(1, -1, 1, 1) for part in (norm.gain, norm.bias))
    normed = ((joined - mean) / (spread + 1e-5).sqrt() * gain + bias).relu()
    expected = torch.nn.functional.conv2d(
        normed, convolution.weight.double(), convolution.bias.double(), padding=1
    )
    with torch.no_grad():
        logits, _ = BothPaths(head, NormalPath.FEATURES).train()(low, mid, [tap[:2] for tap in taps])
        apart, coarse = BothPaths(head).train()(low, mid, [tap[:2] for tap in taps])
    assert (logits - expected).abs().max() <= 1e-5
    own = torch.nn.functional.interpolate(coarse[2:], size=(32, 32), mode="bilinear")
    assert float((logits[2:].softmax(1) - own.softmax(1)).abs().max()) > 0.01  # another rule than ours
    assert len(apart) == 2


@pytest.mark.parametrize("both", [False, True])
def test_coarse_pass_moves_the_output_layers_statistics(both: bool) -> None:
    head = tiny_head().train()
    low, mid, taps = inputs(4)
    norm = head.out_layer[0]
    assert isinstance(norm, StoredBatchNorm)
    expected = norm.stored_mean.clone().double()
    with torch.no_grad():
        features = head.features(low, mid)
        refined = head.refine(features[:2], [tap[:2] for tap in taps])
        BothPaths(head, coarse_statistics=both).train()(low, mid, [tap[:2] for tap in taps])
    for passed in (refined, features) if both else (refined,):
        expected = 0.9 * expected + 0.1 * passed.double().mean(dim=(0, 2, 3))
    assert (norm.stored_mean - expected).abs().max() <= 1e-5


@pytest.mark.parametrize("timestep", [0, 1, 40, 500, 906, 999])
def test_what_the_vae_decodes_is_a_step_of_ddpm(timestep: int) -> None:
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    level = np.cumprod(1 - betas)
    now, before = level[timestep], level[timestep - 1] if timestep else 1.0
    sample, noise, fresh = torch.randn(3, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1)).unbind(0)
    x, e, z = (part.double().numpy() for part in (sample, noise, fresh))
    original = (x - (1 - now) ** 0.5 * e) / now**0.5
    beta = betas[timestep]
    mean = (before**0.5 * beta * original + (1 - beta) ** 0.5 * (1 - before) * x) / (1 - now)
    expected = mean + ((1 - before) / (1 - now) * beta) ** 0.5 * z
    at = torch.tensor([timestep])
    found = ancestral_sample(scheduler, sample, noise, at, fresh).numpy()
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(found - expected).max() / scale <= 1e-5
    deviation = float((ancestral_sample(scheduler, sample, noise, at, fresh * 0) - found).std())
    assert (deviation > 0) == (timestep > 0)
    assert (
        not torch.equal(previous_sample(scheduler, sample, noise, at), torch.from_numpy(found))
        or not timestep
    )


def test_two_thirds_of_the_images_are_mirrored(tiny_product: Product, tiny_base: object) -> None:
    geometry = tiny_base.geometry  # type: ignore[attr-defined]
    for rotate in (True, False):
        examples = Examples(tiny_product, geometry, rotate=rotate, flip=True, mirrored_share=2 / 3)
        random = np.random.default_rng(0)
        drawn = [examples.draw(examples.defects, 1, random)[1][0] for _ in range(3000)]
        assert sum(choice.mirrored for choice in drawn) / 3000 == pytest.approx(2 / 3, abs=0.03)
        turns = Counter(choice.turns for choice in drawn)
        assert set(turns) == (set(range(4)) if rotate else {0})
        assert max(turns.values()) < 1.2 * min(turns.values())
    still = Examples(tiny_product, geometry, rotate=True, flip=False, mirrored_share=2 / 3)
    assert not any(
        still.draw(still.defects, 1, np.random.default_rng(seed))[1][0].mirrored for seed in range(20)
    )


def test_no_more_normals_than_training_defects(tiny_product: Product, tiny_base: object) -> None:
    """An index modulo the number of training defects; references are of all normals all the same."""
    geometry = tiny_base.geometry  # type: ignore[attr-defined]
    pairs = sum(len(defect.train) for defect in tiny_product.defects)
    many = replace(tiny_product, normals=tiny_product.normals * (pairs + 1))
    examples = Examples(many, geometry, rotate=False, flip=False, paired_normals=True)
    expected = [many.normals[index % pairs] for index in range(len(many.normals))]
    assert {example.image for example in examples.normals} == set(expected)
    assert len(examples.normals) == pairs == len(examples.defects)
    examples.use(tiny_base.vae)  # type: ignore[attr-defined]
    assert len(examples.references()) == len(many.normals)


@pytest.mark.parametrize("layout", list(Layout))
def test_reproduce_authors_sets_every_rule(tiny_base: object, layout: Layout) -> None:
    ours = TrainConfig.for_base(tiny_base, 2, layout)  # type: ignore[arg-type]
    config = reproduced(ours, Reproduced.AUTHORS, layout).to_dict()
    assert config["finetune"]["alignment_mask"] == "fractions"
    touched = layout in (Layout.VISA, Layout.MVTEC3D)
    assert config["finetune"]["normal_term"] == ("touched" if touched else "whole")
    assert config["finetune"]["paired_normals"] is True
    assert config["finetune"]["mirrored_share"] == pytest.approx(2 / 3)
    head = config["mask_head"]
    rules = ("normal_path", "coarse_statistics", "decoded", "coarse_target", "focal_mean", "focal_smoothing")
    assert [head[name] for name in rules] == ["features", True, "ddpm", "whole", "maps", 1e-5]
    assert (head["optimizer"]["gradient_accumulation"], head["optimizer"]["eight_bit"]) == (2, True)
    generation = config["generation"]
    assert (generation["start"], generation["threshold"]) == ("in_order", "above")
    assert (generation["timestep_spacing"], generation["short_schedules"]) == ("base", "first_order")
    other = reproduced(ours, Reproduced.PAPER, layout).to_dict()
    assert other["mask_head"] == {
        **ours.to_dict()["mask_head"],
        **{k: other["mask_head"][k] for k in ("gamma", "alpha", "max_timestep", "calibrate_to")},
    }


def test_the_authors_rules_train(tiny_base: object, tiny_product: Product, tmp_path: Path) -> None:
    """Both stages, four steps, to a checkpoint that says what it follows."""
    from seas_train import load_checkpoint, train_product

    config = reproduced(
        TrainConfig.for_base(tiny_base, 2),
        Reproduced.AUTHORS,
        Layout.MVTEC3D,  # type: ignore[arg-type]
    ).updated(
        {
            "finetune": {"steps": 2, "half_precision": False},
            "mask_head": {"steps": 2, "half_precision": False},
        }
    )
    train_product(tiny_product, tiny_base, tmp_path / "made", tmp_path / "run", config, progress=False)  # type: ignore[arg-type]
    said = load_checkpoint(tmp_path / "made").meta["generation"]
    assert said["timestep_spacing"] == tiny_base.scheduler.config.timestep_spacing == "leading"  # type: ignore[attr-defined]
    assert (said["start"], said["threshold"], said["short_schedules"]) == ("in_order", "above", "first_order")
