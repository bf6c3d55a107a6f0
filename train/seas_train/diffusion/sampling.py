"""Generating a few images while training, to see how far it has come. What leaves the machine is made by the
runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seas_train.bases.base import Geometry
from seas_train.diffusion.solver import dpm_solver
from seas_train.diffusion.taps import decode_image, to_uint8


def sample(
    *,
    unet: Any,
    scheduler: Any,
    contexts: Tensor,
    unconditional: Tensor,
    geometry: Geometry,
    steps: int = 12,
    guidance: float = 4.0,
    seed: int = 0,
) -> Tensor:
    """Generate scaled latents [B, C, h, w] f32 from pure noise with DPM-Solver++ 2M.

    Args:
        unet: predicts noise.
        scheduler: the base's noise schedule.
        contexts: [B, L, D], one per image.
        unconditional: [1, L, D].
        geometry: for the latent's shape.
        steps: of the sampler; few, as this is a preview.
        guidance: classifier-free guidance.
        seed: the images are the same at every step of training.
    """
    solver = dpm_solver(scheduler.config, steps)
    shape = (contexts.shape[0], geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(shape, generator=generator).to(contexts.device)
    both = torch.cat([unconditional.expand_as(contexts), contexts])
    with torch.no_grad():
        for timestep in solver.timesteps:
            eps = unet(torch.cat([latents, latents]), timestep.to(contexts.device), both).sample
            without, with_prompt = eps.float().chunk(2)
            latents = solver.step(without + guidance * (with_prompt - without), timestep, latents).prev_sample
    return latents


def preview_sheet(
    *,
    unet: Any,
    vae: Any,
    scheduler: Any,
    contexts: Tensor,
    unconditional: Tensor,
    geometry: Geometry,
    per_prompt: int = 2,
) -> NDArray[np.uint8]:
    """A sheet [P * H, per_prompt * W, 3] of generated images, a row for each of P contexts [P, L, D]."""
    latents = sample(
        unet=unet,
        scheduler=scheduler,
        contexts=contexts.repeat_interleave(per_prompt, dim=0),
        unconditional=unconditional,
        geometry=geometry,
    )
    with torch.no_grad():
        images = to_uint8(decode_image(vae, latents)).cpu().numpy()  # [P * per_prompt, H, W, 3]
    rows = images.reshape(-1, per_prompt, *images.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
