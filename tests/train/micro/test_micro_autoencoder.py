"""Normalising the latents: exact, and to the scale of Stable Diffusion."""

import numpy as np
import torch

from seas_train.bases.micro.training.autoencoder import (
    fold_normalisation,
    half_size,
    new_autoencoder,
    reconstruction_loss,
    to_tensor,
)


def test_folding_scales_the_latents_and_leaves_the_reconstruction() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder().eval()
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = vae.encode(image).latent_dist
        decoded = vae.decode(before.mean).sample
        mean, std = before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3))
        fold_normalisation(vae, mean, std)
        after = vae.encode(image).latent_dist
        again = vae.decode(after.mean).sample
    scaled = after.mean * vae.config["scaling_factor"]
    assert scaled.mean((0, 2, 3)).abs().max() < 1e-4
    assert (scaled.std((0, 2, 3)) - 1).abs().max() < 1e-4
    assert torch.allclose(again, decoded, atol=1e-4)
    # The posterior's spread is scaled as its mean is.
    gain = (1 / (std * vae.config["scaling_factor"]))[None, :, None, None]
    assert torch.allclose(after.std, before.std * gain, rtol=1e-3)


def test_half_size_averages_blocks_of_four() -> None:
    image = np.zeros((2, 4, 4, 3), np.uint8)
    image[:, :2, :2] = np.array([[0, 100], [100, 200]])[..., None]
    small = half_size(image)
    assert small.shape == (2, 2, 2, 3)
    assert small[0, 0, 0, 0] == 100
    assert small[0, 1, 1, 0] == 0


def test_the_loss_is_nothing_for_the_image_itself_and_sees_blur() -> None:
    image = to_tensor(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8))
    assert image.min() >= -1
    assert image.max() <= 1
    assert reconstruction_loss(image, image, 0.5, 1.0) == 0
    flat = image.mean((2, 3), keepdim=True).expand_as(image)
    assert reconstruction_loss(flat, image, 0.5, 1.0) > reconstruction_loss(flat, image, 0.0, 1.0) > 0
