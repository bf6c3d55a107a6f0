"""Schedule tables, from diffusers' own scheduler objects.

A row is (timestep, s, p, q, a, b, c, d) of `seas_runtime.manifest.schedule`. The coefficients are worked out
in float64 from the scheduler's timesteps and noise levels; the tests prove each table against its
own `step`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import COLUMNS, Schedule
from seas_runtime.methods.seas import START_TIMESTEPS
from seas_train.bases.model_folders import EPSILON, V_PREDICTION
from seas_train.diffusion.solver import SolverRules, base_spacing, dpm_solver

DPMPP_2M = "dpmpp_2m"
DDIM = "ddim"
DDIM_ETA1 = "ddim_eta1"
"""DDIM with eta 1, which adds fresh noise in its steps; only in bundles whose default it is."""
STEP_COUNTS = (10, 15, 20, 25, 50)
"""Tabulated for every sampler; a bundle's default number of steps is added where it is not among them."""
_DIFFUSERS_SHORT = 15
"""Below this many steps diffusers' `lower_order_final` takes effect."""

_Float64 = npt.NDArray[np.float64]


def make_scheduler(sampler: str, config: Any, steps: int, rules: SolverRules | None = None) -> Any:
    """Return diffusers' scheduler object for `sampler`, with the base's configuration and its timesteps set.

    `rules` are DPM-Solver++ 2M's (the authors' sampler). DDIM spaces its timesteps as the configuration says,
    but for linspace: its steps are of one length, which those timesteps are not.
    """
    from diffusers import DDIMScheduler

    if sampler == DPMPP_2M:
        return dpm_solver(config, steps, rules)
    spacing = base_spacing(config)
    options = {} if spacing != "linspace" else {"timestep_spacing": "leading"}
    scheduler = DDIMScheduler.from_config(config, clip_sample=False, set_alpha_to_one=False, **options)
    scheduler.set_timesteps(steps)
    return scheduler


def make_start_scheduler(config: Any, steps: int = START_TIMESTEPS) -> Any:
    """Return the scheduler that noises a reference to the start: `add_noise(reference, noise, steps - 1)`."""
    from diffusers import DDPMScheduler

    return DDPMScheduler.from_config(config, num_train_timesteps=steps)


def make_schedule(
    sampler: str,
    config: Any,
    steps: int,
    *,
    rules: SolverRules | None = None,
    blend: bool = False,
    add_noise_step: int = START_TIMESTEPS,
) -> Schedule:
    """Return the table of `sampler` at `steps` steps for a base's scheduler configuration.

    With `blend`, each row also has sqrt(abar_t) and sqrt(1 - abar_t), at which a background is noised. A
    model that predicts v (Salimans and Ho 2022: v = sqrt(abar) noise - sqrt(1 - abar) x0) has other p and q
    alone. `add_noise_step` is how many steps the schedule is stretched to for the start.

    Raises:
        UserError: unknown sampler, steps out of range, or a scheduler configuration that these tables do not
        cover.
    """
    if sampler not in _ROWS:
        raise UserError(f"sampler: expected one of {', '.join(_ROWS)}, found {sampler!r}")
    trained = int(config["num_train_timesteps"])
    if not 1 <= steps < trained:
        raise UserError(f"steps: expected 1 to {trained - 1}, found {steps}")
    _check_config(config)
    scheduler = make_scheduler(sampler, config, steps, rules)
    table = _ROWS[sampler](scheduler)
    # s = 1, so x0 = p x + q e says at what levels of signal and noise x is
    p, q = (table[:, COLUMNS.index(name)] for name in ("p", "q"))
    signal, spread = 1 / p, -q / p
    if config.get("prediction_type") == V_PREDICTION:
        table[:, COLUMNS.index("p")], table[:, COLUMNS.index("q")] = signal, -spread
    if blend:
        table = np.column_stack([table, signal, spread])
    final = float(make_start_scheduler(config, add_noise_step).alphas_cumprod[-1])
    start = np.array([np.sqrt(final), np.sqrt(1 - final)])
    return Schedule(sampler, table.astype(np.float32), start.astype(np.float32))


def make_schedules(
    config: Any,
    steps: int,
    *,
    rules: SolverRules | None = None,
    blend: bool = False,
    add_noise_step: int = START_TIMESTEPS,
    samplers: Sequence[str] = (),
    counts: Sequence[int] = (),
) -> dict[str, Schedule]:
    """Return every table of a bundle by key; `steps` is its default number of steps.

    `samplers` and `counts`, numbers of steps, are those beside the ones that every bundle has.
    """
    made = (
        make_schedule(sampler, config, count, rules=rules, blend=blend, add_noise_step=add_noise_step)
        for sampler in dict.fromkeys((DPMPP_2M, DDIM, *samplers))
        for count in _counts((steps, *counts), config)
    )
    return {schedule.key: schedule for schedule in made}


def _counts(steps: Sequence[int], config: Any) -> Iterable[int]:
    trained = int(config["num_train_timesteps"])
    return sorted({*steps, *(count for count in STEP_COUNTS if count < trained)})


def _check_config(config: Any) -> None:
    """Refuse what would make the update other than linear, or the prediction other than noise or v."""
    prediction = config.get("prediction_type", EPSILON)
    if prediction not in (EPSILON, V_PREDICTION):
        raise UserError(
            f"scheduler: prediction_type: expected {EPSILON} or {V_PREDICTION}, found {prediction}; "
            "these schedules do not cover it"
        )
    expected = {
        "thresholding": False,
        "use_karras_sigmas": False,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
        "use_flow_sigmas": False,
        "use_lu_lambdas": False,
        "rescale_betas_zero_snr": False,
    }
    for key, value in expected.items():
        found = config.get(key, value)
        if (found or False) != (value or False):
            raise UserError(
                f"scheduler: {key}: expected {value}, found {found}; these schedules do not cover it"
            )


def _dpmpp_2m_rows(scheduler: Any) -> _Float64:
    """DPM-Solver++ 2M, midpoint (Lu et al. 2022, algorithm 2), first step of first order.

    The last one too where diffusers' `step` would have it so: fewer than 15, with `lower_order_final`.
    """
    sigmas = np.asarray(scheduler.sigmas, np.float64)  # [N + 1], ratio of noise to signal
    alpha = 1 / np.sqrt(1 + sigmas**2)
    sigma = sigmas * alpha
    log_snr = -np.log(sigmas)  # lambda
    timesteps = np.asarray(scheduler.timesteps, np.float64)
    ends_low = scheduler.config.lower_order_final and len(timesteps) < _DIFFUSERS_SHORT
    first_order = {0, len(timesteps) - 1} if ends_low else {0}
    rows = []
    for i, timestep in enumerate(timesteps):
        step = log_snr[i + 1] - log_snr[i]
        gain = -alpha[i + 1] * np.expm1(-step)
        ratio = 0.0 if i in first_order else 0.5 * step / (log_snr[i] - log_snr[i - 1])  # 1 / (2 r)
        rows.append(
            (
                timestep,
                1.0,
                1 / alpha[i],
                -sigma[i] / alpha[i],
                sigma[i + 1] / sigma[i],
                gain * (1 + ratio),
                -gain * ratio,
                0.0,
            )
        )
    return np.array(rows)


def _ddim_rows(scheduler: Any, eta: float = 0.0) -> _Float64:
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
        rows.append(
            (
                timestep,
                1.0,
                1 / np.sqrt(here),
                -np.sqrt((1 - here) / here),
                kept,
                np.sqrt(following) - kept * np.sqrt(here),
                0.0,
                fresh,
            )
        )
    return np.array(rows)


_ROWS: dict[str, Callable[[Any], _Float64]] = {
    DPMPP_2M: _dpmpp_2m_rows,
    DDIM: _ddim_rows,
    DDIM_ETA1: partial(_ddim_rows, eta=1.0),
}
