"""The denoising loop in PyTorch, with diffusers' own schedulers: for previews of training, and for parity."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

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
    *,
    rescale: float = 0.0,
    before: Callable[[int, Tensor], Tensor] = lambda step, latents: latents,
    first: int = 0,
    fresh: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Take latents [B, C, h, w] f32 through all steps of a diffusers scheduler with classifier-free guidance.

    Args:
        solver: the scheduler, its timesteps set.
        predict: latents [2B, C, h, w], timestep and contexts -> noise [2B, C, h, w].
        latents: to start from.
        contexts: [2B, L, D], the unconditional half first.
        guidance: its scale.
        after: is told each step's number and the latents from before its update, once it has its prediction.
        rescale: phi, by which the guided prediction's deviation is drawn to the conditional one's.
        before: returns what a step starts from, of its number and the latents: as they are, or blended.
        first: the step to begin with.
        fresh: returns the noise [B, C, h, w] that a step adds, for schedulers that add some.
    """
    if first and hasattr(solver, "set_begin_index"):  # others tell a step by its timestep alone
        solver.set_begin_index(first)
    for number, timestep in list(enumerate(solver.timesteps))[first:]:
        latents = before(number, latents)
        doubled = solver.scale_model_input(torch.cat([latents, latents]), timestep)
        unconditional, conditional = predict(doubled, timestep, contexts).float().chunk(2)
        after(number, latents)
        guided = unconditional + guidance * (conditional - unconditional)
        if rescale:
            guided = rescaled(guided, conditional, rescale)
        noise = None if fresh is None else fresh(number)
        latents = _stepped(solver, guided, timestep, latents, noise)
    return latents


def _stepped(solver: Any, guided: Tensor, timestep: Tensor, latents: Tensor, noise: Tensor | None) -> Tensor:
    """Return what a scheduler's step makes of latents, with `noise` where it would draw its own."""
    given = {}
    if noise is not None and "variance_noise" in signature(solver.step).parameters:
        given["variance_noise"] = noise
    made = solver.step(guided, timestep, latents, **given)
    following: Tensor = made.prev_sample
    if noise is None or not hasattr(made, "denoised"):
        return following
    result: Tensor = made.denoised  # of LCM's, which takes no noise
    if solver.step_index < len(solver.timesteps):
        result = solver.add_noise(result, noise, solver.timesteps[solver.step_index][None])
    return result


def rescaled(guided: Tensor, conditional: Tensor, phi: float | Tensor) -> Tensor:
    """Guidance rescale of predictions [B, C, h, w] (Lin et al. 2023, arXiv 2305.08891, eq. 14 to 16)."""
    deviations = [prediction.std(dim=(1, 2, 3), keepdim=True) for prediction in (conditional, guided)]
    return guided * (1 + phi * (deviations[0] / deviations[1] - 1))


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
    solver: Any = None,
) -> Tensor:
    """Generate scaled latents [B, C, h, w] f32 from pure noise with DPM-Solver++ 2M, or as a student.

    Args:
        unet: predicts noise.
        scheduler: the base's noise schedule.
        contexts: [B, L, D], one per image.
        unconditional: [1, L, D].
        geometry: for the latent's shape.
        steps: of the sampler; few, as this is a preview.
        guidance: classifier-free guidance.
        seed: the images are the same at every step of training.
        solver: LCM's, with its timesteps set: then without guidance.
    """
    student = solver is not None
    solver = solver or dpm_solver(scheduler.config, steps)
    shape = (contexts.shape[0], geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(shape, generator=generator).to(contexts.device)
    both = torch.cat([unconditional.expand_as(contexts), contexts])

    def fresh(step: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(contexts.device)

    def predict(doubled: Tensor, timestep: Tensor, words: Tensor) -> Tensor:
        noise: Tensor = unet(doubled, timestep.to(words.device), words).sample
        return noise

    with torch.no_grad():
        if student:
            return denoise(solver, predict, latents, both, 1.0, fresh=fresh)
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
    attention: Callable[[Tensor], list[Tensor]] | None = None,
    solver: Any = None,
) -> NDArray[np.uint8]:
    """A sheet [P * H, columns * W, 3] of generated images, a row for each of P contexts [P, L, D].

    Args:
        unet: predicts noise.
        vae: decodes.
        scheduler: the base's noise schedule.
        contexts: one for each row.
        unconditional: [1, L, D].
        geometry: of the images.
        per_prompt: images of each.
        attention: from a row's first latents [P, C, h, w], a row's maps [tokens, h', w'], laid over its first
            image behind the others; the rows may have different numbers of them.
        solver: as in `sample`.
    """
    latents = sample(
        unet=unet,
        scheduler=scheduler,
        contexts=contexts.repeat_interleave(per_prompt, dim=0),
        unconditional=unconditional,
        geometry=geometry,
        solver=solver,
    )
    with torch.no_grad():
        images = to_uint8(decode_image(vae, latents)).cpu().numpy()  # [P * per_prompt, H, W, 3]
    grid = images.reshape(-1, per_prompt, *images.shape[1:])
    rows = [list(row) for row in grid]
    if attention is not None:
        for row, maps in zip(rows, attention(latents[::per_prompt]), strict=True):
            row.extend([heat_map(row[0], one) for one in maps])
    widest = max(map(len, rows))
    filled = [row + [np.zeros_like(row[0])] * (widest - len(row)) for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in filled], axis=0)


def heat_map(image: NDArray[np.uint8], attention: Tensor) -> NDArray[np.uint8]:
    """A map [h, w] over an image [H, W, 3] in grey: the more attention, from its least to its most, the
    redder."""
    low, high = attention.min(), attention.max()
    scaled = ((attention - low) / (high - low).clamp_min(1e-12))[None, None].float()
    heat = functional.interpolate(scaled, size=image.shape[:2], mode="bilinear")[0, 0].cpu().numpy()
    grey = image.mean(axis=2) * (1 - 0.8 * heat)
    red = grey + 255 * 0.8 * heat
    return np.stack([red, grey, grey], axis=2).clip(0, 255).astype(np.uint8)
