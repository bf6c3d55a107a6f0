from __future__ import annotations

import numpy as np
import pytest
import torch

from seas_train.methods.seas.finetune.losses import (
    alignment_loss,
    high_noise_weights,
    min_max,
    noise_loss,
    own_mask_weights,
    pool_mask,
    region_weights,
    token_maps,
)


def test_alignment_loss_by_hand() -> None:
    anomaly = torch.tensor([[[0.2, 0.4], [0.3, 0.2]], [[0.1, 0.1], [0.1, 0.5]]])
    normal = torch.tensor([[[0.0, 0.5], [1.0, 0.25]], [[3.0, 1.0], [2.0, 1.5]]])
    mask = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    # Normalised: anomaly [[0, 1], [.5, 0]] and [[0, 0], [0, 1]]; normal [[0, .5], [1, .25]] and [[1, 0], [.5,
    # .25]].
    to_mask = (0.5**2) / 8  # one pixel of eight is half wrong
    inside = (
        (0.5**2 + 1) / 2 + 0.25**2
    ) / 2  # each sample's mean over its own mask, then the mean of the two
    assert float(alignment_loss(anomaly, normal, mask)) == pytest.approx(to_mask + inside, abs=1e-6)


def test_alignment_loss_over_the_batch_by_hand() -> None:
    anomaly = torch.tensor([[[0.0, 0.4]], [[0.2, 0.2]]])
    normal = torch.tensor([[[0.0, 2.0]], [[4.0, 1.0]]])
    mask = torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])
    to_mask = (0 + 0 + 0.5**2 + 0.5**2) / 4
    inside = (0.5**2 + 1 + 0.25**2) / 3  # over all pixels of all masks
    loss = alignment_loss(anomaly, normal, mask, over_batch=True)
    assert float(loss) == pytest.approx(to_mask + inside, abs=1e-6)


def test_a_perfect_map_costs_nothing_and_its_scale_does_not_matter() -> None:
    mask = torch.zeros(1, 4, 4)
    mask[0, 1:3, 1:3] = 1
    assert float(alignment_loss(3 * mask + 5, 7 - 2 * mask, mask)) == 0


def test_min_max_of_a_constant_map_is_finite() -> None:
    maps = torch.full((2, 3, 3), 0.25, requires_grad=True)
    normalised = min_max(maps, over_batch=False)
    normalised.square().sum().backward()
    assert torch.equal(normalised.detach(), torch.zeros(2, 3, 3))
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


def test_pooled_masks_keep_single_pixels() -> None:
    mask = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    mask[0, 0, 63, 17] = True
    pooled = pool_mask(mask, 4)
    assert pooled.shape == (1, 4, 4)
    assert pooled.nonzero().tolist() == [[0, 3, 1]]


def test_token_maps_are_means_of_each_samples_own_tokens() -> None:
    maps = torch.rand(2, 3, 3, 5, generator=torch.Generator().manual_seed(0))
    mean = token_maps(maps, torch.tensor([[1, 2], [3, 4]]))
    assert torch.allclose(mean[0], (maps[0, ..., 1] + maps[0, ..., 2]) / 2)
    assert torch.allclose(mean[1], (maps[1, ..., 3] + maps[1, ..., 4]) / 2)


def test_noise_loss_is_the_mean_squared_error() -> None:
    prediction, noise = np.random.default_rng(0).normal(size=(2, 2, 4, 3, 3)).astype(np.float32)
    expected = float(((prediction - noise) ** 2).mean())
    assert float(noise_loss(torch.from_numpy(prediction), torch.from_numpy(noise))) == pytest.approx(
        expected, rel=1e-5
    )


def test_high_noise_weights_are_one_over_snr_within_limits() -> None:
    alphas_cumprod = torch.tensor([0.99, 0.5, 0.2, 0.05, 0.001])
    weights = high_noise_weights(alphas_cumprod, torch.tensor([4, 3, 2, 1, 0]), 50.0)
    assert weights.shape == (5, 1, 1, 1)
    assert weights.flatten().tolist() == pytest.approx([50.0, 19.0, 4.0, 1.0, 1.0])
    assert high_noise_weights(alphas_cumprod, torch.arange(5), 1.0).flatten().tolist() == [1.0] * 5


def test_noise_loss_weighs_images() -> None:
    prediction, noise = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    noise[1] *= 3
    assert float(
        noise_loss(prediction, noise, torch.tensor([2.0, 1.0])[:, None, None, None])
    ) == pytest.approx((2 * 1 + 9) / 2)
    assert float(noise_loss(prediction, noise, torch.ones(2, 1, 2, 2))) == pytest.approx(
        float(noise_loss(prediction, noise))
    )


def test_region_weights_join_the_masks_and_keep_single_pixels() -> None:
    masks = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    masks[0, 0, 5, 9] = True
    masks[1, 0, 15, 0] = True
    weights = region_weights(masks, 4, 5.0)
    expected = torch.ones(1, 4, 4)
    expected[0, 1, 2] = expected[0, 3, 0] = 5
    assert torch.equal(weights, expected)
    assert torch.equal(region_weights(masks, 4, 1.0), torch.ones(1, 4, 4))


def test_own_mask_weights_make_a_small_mask_weigh_as_much_as_the_rest() -> None:
    masks = torch.zeros(3, 1, 16, 16, dtype=torch.bool)
    masks[0, 0, 5, 9] = True  # 1 of 16 cells: 15 would balance it
    masks[1, 0, :8] = True  # half of all cells
    weights = own_mask_weights(masks, 4, 20.0)
    expected = torch.ones(3, 1, 4, 4)
    expected[0, 0, 1, 2] = 15
    assert torch.equal(weights, expected)  # the half, and none at all, weigh 1
    expected[0, 0, 1, 2] = 8
    assert torch.equal(own_mask_weights(masks, 4, 8.0), expected)
    assert torch.equal(own_mask_weights(torch.ones(1, 1, 16, 16), 4, 8.0), torch.ones(1, 1, 4, 4))
