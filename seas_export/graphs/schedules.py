"""Schedule tables, from diffusers' own scheduler objects.

The rows are `schedule_rows`'; the tests prove each table against its scheduler's own `step`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from seas_export.graphs.schedule_rows import Rows, ddim_rows, lcm_rows, multistep_rows, unipc_rows
from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import COLUMNS, Schedule
from seas_runtime.methods.seas import START_TIMESTEPS
from seas_train.bases.model_folders import EPSILON, V_PREDICTION
from seas_train.diffusion.consistency import LCM, MOST_STEPS, lcm_scheduler
from seas_train.diffusion.solver import SolverRules, base_spacing, dpm_solver

DPMPP_2M = "dpmpp_2m"
DDIM = "ddim"
DDIM_ETA1 = "ddim_eta1"
"""DDIM with eta 1, which adds fresh noise in its steps; only in bundles whose default it is."""
UNIPC_1 = "unipc_1"
"""UniPC of order 1, predictor and corrector; of higher orders no table can hold it."""
DPMPP_2M_SDE = "dpmpp_2m_sde"
DPMPP_2M_KARRAS, DPMPP_2M_SDE_KARRAS = "dpmpp_2m_karras", "dpmpp_2m_sde_karras"
"""At the noise levels of Karras et al. 2022; they end without noise, as diffusers' do."""
NOISY = (DDIM_ETA1, DPMPP_2M_SDE, DPMPP_2M_SDE_KARRAS, LCM)
"""Those that add fresh noise in their steps; a step's graph must take it."""
STEP_COUNTS = (10, 15, 20, 25, 50)
"""Tabulated for every sampler but `lcm`; a bundle's default number of steps is added where it is not among
them."""
LCM_COUNTS = tuple(range(1, 9))


def make_scheduler(sampler: str, config: Any, steps: int, rules: SolverRules | None = None) -> Any:
    """Return diffusers' scheduler object for `sampler`, with the base's configuration and its timesteps set.

    `rules` are those of DPM-Solver++ 2M (the authors' sampler) and its relatives. DDIM spaces its timesteps
    as the configuration says, but for linspace: its steps are of one length, which those timesteps are not.
    """
    from diffusers import DDIMScheduler

    if sampler in _MULTISTEP:
        return dpm_solver(config, steps, rules, **_MULTISTEP[sampler])
    if sampler == UNIPC_1:
        return _unipc(config, steps, rules)
    if sampler == LCM:
        return lcm_scheduler(config, steps)
    spacing = base_spacing(config)
    options = {} if spacing != "linspace" else {"timestep_spacing": "leading"}
    scheduler = DDIMScheduler.from_config(config, clip_sample=False, set_alpha_to_one=False, **options)
    scheduler.set_timesteps(steps)
    return scheduler


def _unipc(config: Any, steps: int, rules: SolverRules | None) -> Any:
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler.from_config(
        config,
        solver_order=1,
        solver_type="bh2",
        final_sigmas_type="sigma_min",
        timestep_spacing=(rules or SolverRules()).spacing or base_spacing(config),
    )
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
    most = MOST_STEPS if sampler == LCM else trained - 1
    if not 1 <= steps <= most:
        raise UserError(f"steps: expected 1 to {most}, found {steps}")
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


def checked_samplers(names: Sequence[str]) -> tuple[str, ...]:
    """Return samplers once each, in their order; UserError for one that no table holds."""
    for name in names:
        if name not in _ROWS:
            raise UserError(
                f"sampler: expected one of {', '.join(SAMPLERS)}, found {name!r}: a table holds what is "
                "linear in the sample and the last two predictions, in one U-Net run a step"
            )
    return tuple(dict.fromkeys(names))


def adds_noise(samplers: Sequence[str]) -> bool:
    """Whether a step's graph must take fresh noise for any of the samplers."""
    return any(name in NOISY for name in samplers)


def make_schedules(
    config: Any,
    steps: int,
    *,
    sampler: str = DPMPP_2M,
    rules: SolverRules | None = None,
    blend: bool = False,
    add_noise_step: int = START_TIMESTEPS,
    samplers: Sequence[str] = (),
    counts: Sequence[int] = (),
) -> dict[str, Schedule]:
    """Return every table of a bundle by key; `sampler` and `steps` are its defaults.

    `samplers` and `counts`, numbers of steps, are those beside the ones that every bundle has. A bundle whose
    default is `lcm` is of a student, which no other sampler suits: it has those tables alone, and `samplers`.
    """
    every = (LCM, *samplers) if sampler == LCM else (DPMPP_2M, DDIM, sampler, *samplers)
    made = (
        make_schedule(name, config, count, rules=rules, blend=blend, add_noise_step=add_noise_step)
        for name in dict.fromkeys(every)
        for count in _counts(name, (*([steps] if (name == LCM) == (sampler == LCM) else []), *counts), config)
    )
    return {schedule.key: schedule for schedule in made}


def _counts(sampler: str, steps: Sequence[int], config: Any) -> Iterable[int]:
    if sampler == LCM:
        return sorted({*steps, *LCM_COUNTS})
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


_ROWS: dict[str, Callable[[Any], Rows]] = {
    DPMPP_2M: multistep_rows,
    DDIM: ddim_rows,
    DDIM_ETA1: partial(ddim_rows, eta=1.0),
    UNIPC_1: unipc_rows,
    DPMPP_2M_SDE: multistep_rows,
    DPMPP_2M_KARRAS: multistep_rows,
    DPMPP_2M_SDE_KARRAS: multistep_rows,
    LCM: lcm_rows,
}
_SDE = "sde-dpmsolver++"
_MULTISTEP: dict[str, dict[str, Any]] = {
    DPMPP_2M: {},
    DPMPP_2M_SDE: {"algorithm": _SDE},
    DPMPP_2M_KARRAS: {"karras": True},
    DPMPP_2M_SDE_KARRAS: {"algorithm": _SDE, "karras": True},
}
"""What `dpm_solver` is told of each."""
SAMPLERS = tuple(name for name in _ROWS if name != DDIM_ETA1)
"""Those that a bundle can be exported with."""
