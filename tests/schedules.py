"""A step of a schedule in plain numpy: what the composed `step` graph is proven against."""

from __future__ import annotations

import numpy as np

from seas_runtime.manifest.schedule import COLUMNS, Schedule


def scaled_input(schedule: Schedule, step: int, latents: np.ndarray) -> np.ndarray:
    """Return what the U-Net sees in `step`: s_i * x_i."""
    return schedule.table[step, 1] * latents


def apply_step(
    schedule: Schedule,
    step: int,
    latents: np.ndarray,
    previous_x0: np.ndarray,
    prediction: np.ndarray,
    noise: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (x_{i+1}, x0_i); `prediction` is e, with guidance; arrays are [B, C, h, w] float32."""
    _, _, p, q, a, b, c, d = schedule.table[step, : len(COLUMNS)]
    x0 = p * latents + q * prediction
    following = a * latents + b * x0 + c * previous_x0
    return (following if noise is None else following + d * noise), x0
