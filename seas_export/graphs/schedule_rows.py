"""Rows of schedule tables, worked out in float64 from diffusers' own scheduler objects.

A row is (timestep, s, p, q, a, b, c, d) of `seas_runtime.manifest.schedule`. What is not linear in (sample,
last two predictions of x0, fresh noise) has no rows. UniPC of order 2 and more corrects a sample by three
predictions; k-diffusion's DPM-Solver++ SDE runs the U-Net twice a step; thresholding is not linear at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]

_DIFFUSERS_SHORT = 15
"""Below this many steps diffusers' `lower_order_final` takes effect."""


def multistep_rows(scheduler: Any) -> Rows:
    """DPM-Solver++ 2M, midpoint (Lu et al. 2022, algorithm 2), or its SDE form, first step of first order.

    The last one too where diffusers' `step` would have it so: at a last noise level of zero, and with
    `lower_order_final` of fewer than 15.
    """
    sigmas = np.asarray(scheduler.sigmas, np.float64)  # [N + 1], ratio of noise to signal
    alpha = 1 / np.sqrt(1 + sigmas**2)
    sigma = sigmas * alpha
    with np.errstate(divide="ignore"):
        log_snr = -np.log(sigmas)  # lambda; infinite where the last level is zero
    timesteps = np.asarray(scheduler.timesteps, np.float64)
    fresh = scheduler.config.algorithm_type == "sde-dpmsolver++"
    short = scheduler.config.lower_order_final and len(timesteps) < _DIFFUSERS_SHORT
    first_order = {0, len(timesteps) - 1} if short or sigmas[-1] == 0 else {0}
    rows = []
    for i, timestep in enumerate(timesteps):
        step = log_snr[i + 1] - log_snr[i]
        ratio = 0.0 if i in first_order else 0.5 * step / (log_snr[i] - log_snr[i - 1])  # 1 / (2 r)
        kept = sigma[i + 1] / sigma[i] * (np.exp(-step) if fresh else 1.0)
        gain = -alpha[i + 1] * np.expm1(-2 * step if fresh else -step)
        added = sigma[i + 1] * np.sqrt(-np.expm1(-2 * step)) if fresh else 0.0
        level = 1 / alpha[i], -sigma[i] / alpha[i]
        rows.append((timestep, 1.0, *level, kept, gain * (1 + ratio), -gain * ratio, added))
    return np.array(rows)


def unipc_rows(scheduler: Any) -> Rows:
    """UniPC of order 1 (Zhao et al. 2023, B(h) = e^h - 1): a step of DDIM, from a sample that the corrector
    has moved by the difference of the last two predictions."""
    sigmas = np.asarray(scheduler.sigmas, np.float64)
    alpha = 1 / np.sqrt(1 + sigmas**2)
    sigma = sigmas * alpha
    gains = -alpha[1:] * np.expm1(np.diff(np.log(sigmas)))  # alpha_{i+1} (1 - e^-h)
    rows = []
    for i, timestep in enumerate(np.asarray(scheduler.timesteps, np.float64)):
        kept = sigma[i + 1] / sigma[i]
        moved = kept * 0.5 * gains[i - 1] if i else 0.0
        level = 1 / alpha[i], -sigma[i] / alpha[i]
        rows.append((timestep, 1.0, *level, kept, gains[i] + moved, -moved, 0.0))
    return np.array(rows)


def ddim_rows(scheduler: Any, eta: float = 0.0) -> Rows:
    """DDIM (Song et al. 2021, equations 12 and 16), ending at the signal level of t = 0."""
    levels = np.asarray(scheduler.alphas_cumprod, np.float64)
    timesteps = np.asarray(scheduler.timesteps)
    stride = scheduler.config.num_train_timesteps // len(timesteps)
    rows = []
    for timestep in timesteps:
        here = levels[timestep]
        following = levels[timestep - stride] if timestep >= stride else float(scheduler.final_alpha_cumprod)
        fresh = eta * np.sqrt((1 - following) / (1 - here)) * np.sqrt(1 - here / following)
        kept = np.sqrt((1 - following - fresh**2) / (1 - here))
        level = 1 / np.sqrt(here), -np.sqrt((1 - here) / here)
        rows.append((timestep, 1.0, *level, kept, np.sqrt(following) - kept * np.sqrt(here), 0.0, fresh))
    return np.array(rows)


def lcm_rows(scheduler: Any) -> Rows:
    """Multistep consistency sampling (Luo et al. 2023, algorithm 3): x0 by the boundary's scalings, noised
    anew as far as the next step has it; the last step's is the result."""
    levels = np.asarray(scheduler.alphas_cumprod, np.float64)
    timesteps = [int(timestep) for timestep in scheduler.timesteps]
    rows = []
    for i, timestep in enumerate(timesteps):
        skip, out = (
            float(value) for value in scheduler.get_scalings_for_boundary_condition_discrete(timestep)
        )
        following = levels[timesteps[i + 1]] if i + 1 < len(timesteps) else 1.0
        signal, spread = np.sqrt(following), np.sqrt(1 - following)
        here = levels[timestep]
        level = 1 / np.sqrt(here), -np.sqrt((1 - here) / here)
        rows.append((timestep, 1.0, *level, signal * skip, signal * out, 0.0, spread))
    return np.array(rows)
