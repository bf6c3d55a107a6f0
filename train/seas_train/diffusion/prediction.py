"""What a U-Net predicts: the noise, or v."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from seas_train.bases.model_folders import EPSILON, V_PREDICTION


def predicts_v(scheduler: Any) -> bool:
    """Whether the base predicts v (Salimans and Ho 2022, arXiv 2202.00512, section 4)."""
    return bool(scheduler.config.get("prediction_type", EPSILON) == V_PREDICTION)


def training_target(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the U-Net is trained to predict [B, C, h, w]: the noise, or v.

    v = sqrt(abar) noise - sqrt(1 - abar) x0; latents: x0, scaled.
    """
    if not predicts_v(scheduler):
        return noise
    signal, spread = signal_and_spread(scheduler.alphas_cumprod, timesteps)
    return signal * noise - spread * latents


def predicted_noise(scheduler: Any, sample: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
    """The noise in x_t [B, C, h, w] by the U-Net's prediction, whatever that is of."""
    if not predicts_v(scheduler):
        return prediction
    signal, spread = signal_and_spread(scheduler.alphas_cumprod, timesteps)
    return signal * prediction + spread * sample


def predicted_x0(scheduler: Any, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """The x0 [B, C, h, w] that x_t is made of, by the noise in it."""
    signal, spread = signal_and_spread(scheduler.alphas_cumprod, timesteps)
    return (sample - spread * noise) / signal


def signal_and_spread(alphas_cumprod: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Return sqrt(abar_t) and sqrt(1 - abar_t), each [B, 1, 1, 1]; 1 and 0 at timestep -1."""
    kept = alphas_cumprod.to(timesteps.device)[timesteps.clamp(min=0)].float()
    kept = torch.where(timesteps < 0, torch.ones_like(kept), kept)[:, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt()
