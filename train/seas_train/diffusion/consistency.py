"""Latent consistency models (Luo et al. 2023, arXiv 2310.04378): timesteps, and the boundary's scalings."""

from __future__ import annotations

from typing import Any

from torch import Tensor

LCM = "lcm"
"""The sampler of a student."""
MOST_STEPS = 50
"""Steps of the teacher's DDIM that a student skips over, and the most that it can be asked for (the authors'
and diffusers' `original_inference_steps`)."""
SIGMA_DATA, TIMESTEP_SCALING = 0.5, 10.0
"""Of the scalings (the authors')."""


def lcm_scheduler(config: Any, steps: int) -> Any:
    """Return diffusers' LCMScheduler for a base's scheduler configuration, with `steps` timesteps set."""
    from diffusers import LCMScheduler

    scheduler = LCMScheduler.from_config(
        config,
        original_inference_steps=MOST_STEPS,
        timestep_scaling=TIMESTEP_SCALING,
        clip_sample=False,
        thresholding=False,
    )
    scheduler.set_timesteps(steps)
    return scheduler


def student_timesteps(config: Any, steps: int) -> list[int]:
    """Return the timesteps at which a student of `steps` steps runs, the noisiest first."""
    return [int(timestep) for timestep in lcm_scheduler(config, steps).timesteps]


def boundary_scalings(timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Return c_skip and c_out [B, 1, 1, 1] f32 of timesteps [B]: 1 and 0 at t = 0 (section 4.2)."""
    scaled = timesteps.float()[:, None, None, None] * TIMESTEP_SCALING
    total = scaled**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / total, scaled / total.sqrt()
