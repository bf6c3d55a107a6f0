"""The mask head's inputs: the frozen models' features of noised latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from seas_runtime.methods.seas import MASK_STEPS
from seas_train.diffusion.prediction import predicted_noise, signal_and_spread
from seas_train.diffusion.solver import SolverRules, dpm_solver
from seas_train.diffusion.taps import decode_taps, unet_with_taps


class Models(Protocol):
    """The models of a base or a checkpoint that masks are predicted with."""

    @property
    def unet(self) -> Any:
        """`diffusers.UNet2DConditionModel`."""

    @property
    def vae(self) -> Any:
        """`diffusers.AutoencoderKL`."""

    @property
    def text_encoder(self) -> Any:
        """`transformers.CLIPTextModel`."""

    @property
    def tokenizer(self) -> Any:
        """`transformers.CLIPTokenizer`."""

    @property
    def scheduler(self) -> Any:
        """A diffusers scheduler with the noise schedule of the base."""


@dataclass(frozen=True)
class Features:
    """The features that the head reads, of B samples; the VAE's are of the first D alone."""

    coarse: Tensor
    """[B,C,h/2,w/2], the U-Net's."""
    fine: Tensor
    """[B,F,h,w], the U-Net's."""
    vae: list[Tensor]
    """[D,V,2h,2w], [D,V,4h,4w], [D,V,8h,8w], the VAE decoder's."""


def previous_sample(scheduler: Any, sample: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
    """Return x_{t-1} [B,C,h,w] of x_t and the predicted noise: one step of the schedule (DDIM with eta 0).

    Args:
        scheduler: a diffusers scheduler with the noise schedule.
        sample: x_t [B,C,h,w], scaled.
        prediction: the noise in it, of that shape.
        timesteps: [B] int64; x_{-1} is the sample without noise.
    """
    signal, spread = signal_and_spread(scheduler.alphas_cumprod, timesteps)
    original = (sample - spread * prediction) / signal
    signal, spread = signal_and_spread(scheduler.alphas_cumprod, timesteps - 1)
    return signal * original + spread * prediction


def ancestral_sample(
    scheduler: Any, sample: Tensor, prediction: Tensor, timesteps: Tensor, noise: Tensor
) -> Tensor:
    """Return x_{t-1} [B,C,h,w] of x_t and the predicted noise by a step of DDPM (Ho et al. 2020, equations 6
    and 7): the posterior's mean, and fresh noise of its deviation. Arguments are `previous_sample`'s.

    noise: [B,C,h,w], standard normal.
    """
    signal, spread = signal_and_spread(scheduler.alphas_cumprod, timesteps)
    before, spread_before = signal_and_spread(scheduler.alphas_cumprod, timesteps - 1)
    original = (sample - spread * prediction) / signal
    kept = signal / before  # sqrt(alpha_t)
    beta, left = 1 - kept**2, spread_before**2 / spread**2
    mean = before * beta / spread**2 * original + kept * left * sample
    return mean + (left * beta).sqrt() * noise


@torch.no_grad()
def training_features(
    models: Models,
    sample: Tensor,
    timesteps: Tensor,
    context: Tensor,
    defects: int,
    noise: Tensor | None = None,
) -> Features:
    """Return the features of x_t as stage 2 reads them.

    The U-Net sees x_t; the VAE decodes x_{t-1}, one step of the base's own schedule later, of the first
    `defects` samples (the others skip the refinement). Of a thousand steps one changes little: what is
    decoded is as noisy as in generation, where the latents before the sampler's step are decoded.

    Args:
        models: frozen, in eval mode, on the samples' device.
        sample: x_t [B,C,h,w], scaled.
        timesteps: [B] int64.
        context: [B,L,D].
        defects: how many samples to decode.
        noise: [defects,C,h,w], standard normal, for a step of DDPM; None for one of DDIM.
    """
    prediction, coarse, fine = unet_with_taps(models.unet, sample, timesteps, context)
    sample, timesteps = sample[:defects], timesteps[:defects]
    predicted = predicted_noise(models.scheduler, sample, prediction[:defects].float(), timesteps)
    step = (models.scheduler, sample, predicted, timesteps)
    previous = previous_sample(*step) if noise is None else ancestral_sample(*step, noise)
    return Features(coarse, fine, decode_taps(models.vae, previous / models.vae.config.scaling_factor))


@torch.no_grad()
def generation_features(models: Models, sample: Tensor, timestep: int, context: Tensor) -> Features:
    """Return the features of x_t as generation reads them: U-Net and VAE both see x_t [B,C,h,w], scaled."""
    _, coarse, fine = unet_with_taps(
        models.unet, sample, torch.tensor(timestep, device=sample.device), context
    )
    return Features(coarse, fine, decode_taps(models.vae, sample / models.vae.config.scaling_factor))


def mask_timesteps(
    scheduler: Any, steps: int = 25, mask_steps: int = MASK_STEPS, rules: SolverRules | None = None
) -> list[int]:
    """Return the timesteps at which generation reads masks, DPM-Solver++'s last (120, 80, 40 in SD 1.x)."""
    sampler = dpm_solver(scheduler.config, steps, rules)
    return [int(timestep) for timestep in sampler.timesteps[-mask_steps:]]
