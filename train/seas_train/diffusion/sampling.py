"""The denoising loop in PyTorch, with diffusers' own schedulers: for previews of training, and for parity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seas_train.bases.base import Geometry
from seas_train.diffusion.solver import dpm_solver
from seas_train.diffusion.taps import decode_image, to_uint8


def denoise(
    solver: Any,
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    latents: Tensor,
    contexts: Tensor,
    guidance: float,
    after: Callable[[int, Tensor], None] = lambda step, latents: None,
) -> Tensor:
    """Take latents [B, C, h, w] f32 through all steps of a diffusers scheduler with classifier-free guidance.

    Args:
        solver: the scheduler, its timesteps set.
        predict: latents [2B, C, h, w], timestep and contexts -> noise [2B, C, h, w].
        latents: to start from.
        contexts: [2B, L, D], the unconditional half first.
        guidance: its scale.
        after: is told each step's number and the latents from before its update, once it has its prediction.
    """
    for number, timestep in enumerate(solver.timesteps):
        doubled = solver.scale_model_input(torch.cat([latents, latents]), timestep)
        unconditional, conditional = predict(doubled, timestep, contexts).float().chunk(2)
        after(number, latents)
        guided = unconditional + guidance * (conditional - unconditional)
        latents = solver.step(guided, timestep, latents, return_dict=False)[0]
    return latents


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

    def predict(doubled: Tensor, timestep: Tensor, words: Tensor) -> Tensor:
        noise: Tensor = unet(doubled, timestep.to(words.device), words).sample
        return noise

    with torch.no_grad():
        return denoise(solver, predict, latents, both, guidance)


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
