"""The mask head's inputs: the frozen models' features of noised latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from seas_runtime.methods.seas import MASK_STEPS, follows
from seas_train.diffusion.consistency import LCM, student_timesteps
from seas_train.diffusion.prediction import predicted_noise, predicted_x0, signal_and_spread
from seas_train.diffusion.solver import SolverRules, dpm_solver
from seas_train.diffusion.taps import unet_with_taps
from seas_train.methods.seas.mask_head.network.head import MaskHead


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


@dataclass(frozen=True)
class Reading:
    """Where generation reads masks."""

    timesteps: tuple[int, ...]
    of_x0: bool = False
    """Whether the VAE decodes the step's x0, not what the U-Net saw: few steps end noisily."""

    @classmethod
    def of(cls, scheduler: Any, generation: Mapping[str, Any]) -> Reading:
        """By a checkpoint's section `generation`: a student's last steps, or those of DPM-Solver++."""
        if generation.get("sampler") != LCM:
            return cls(tuple(mask_timesteps(scheduler, rules=SolverRules.of(generation))))
        timesteps = student_timesteps(scheduler.config, generation["steps"])[-generation["mask_steps"] :]
        return cls(tuple(timesteps), follows(generation, "decoded"))


def previous_sample(scheduler: Any, sample: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
    """Return x_{t-1} [B,C,h,w] of x_t and the predicted noise: one step of the schedule (DDIM with eta 0).

    Args:
        scheduler: a diffusers scheduler with the noise schedule.
        sample: x_t [B,C,h,w], scaled.
        prediction: the noise in it, of that shape.
        timesteps: [B] int64; x_{-1} is the sample without noise.
    """
    original = predicted_x0(scheduler, sample, prediction, timesteps)
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
    of_x0: bool = False,
    *,
    head: MaskHead,
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
        of_x0: decode the predicted x0 instead, as generation does then.
        head: whose small decoder decodes, where it has one.
    """
    prediction, coarse, fine = unet_with_taps(models.unet, sample, timesteps, context)
    sample, timesteps = sample[:defects], timesteps[:defects]
    predicted = predicted_noise(models.scheduler, sample, prediction[:defects].float(), timesteps)
    step = (models.scheduler, sample, predicted, timesteps)
    if of_x0:
        return Features(coarse, fine, _decoded(models, head, predicted_x0(*step)))
    previous = previous_sample(*step) if noise is None else ancestral_sample(*step, noise)
    return Features(coarse, fine, _decoded(models, head, previous))


@torch.no_grad()
def generation_features(
    models: Models, head: MaskHead, sample: Tensor, timestep: int, context: Tensor, of_x0: bool = False
) -> Features:
    """Return the features of x_t as generation reads them: U-Net and VAE both see x_t [B,C,h,w], scaled; with
    `of_x0` the VAE sees the predicted x0."""
    at = torch.tensor(timestep, device=sample.device)
    prediction, coarse, fine = unet_with_taps(models.unet, sample, at, context)
    if of_x0:
        every = at.expand(sample.shape[0])
        predicted = predicted_noise(models.scheduler, sample, prediction.float(), every)
        sample = predicted_x0(models.scheduler, sample, predicted, every)
    return Features(coarse, fine, _decoded(models, head, sample))


def _decoded(models: Models, head: MaskHead, latents: Tensor) -> list[Tensor]:
    """The features of scaled latents, of the VAE or of the head's own decoder."""
    return head.decode(models.vae, latents / models.vae.config.scaling_factor)


def mask_timesteps(
    scheduler: Any, steps: int = 25, mask_steps: int = MASK_STEPS, rules: SolverRules | None = None
) -> list[int]:
    """Return the timesteps at which generation reads masks, DPM-Solver++'s last (120, 80, 40 in SD 1.x)."""
    sampler = dpm_solver(scheduler.config, steps, rules)
    return [int(timestep) for timestep in sampler.timesteps[-mask_steps:]]
