"""The authors' sampler as diffusers' own scheduler object, from which schedule tables are made."""

from __future__ import annotations

from typing import Any


def dpm_solver(config: Any, steps: int) -> Any:
    """Return DPM-Solver++ 2M for a base's scheduler configuration, with `steps` timesteps set.

    It ends at t = 0 by a second-order step. Timesteps are evenly spaced from the last one down, as the
    authors have them: diffusers' default for this solver, whatever spacing the base's own scheduler is saved
    with.
    """
    from diffusers import DPMSolverMultistepScheduler

    solver = DPMSolverMultistepScheduler.from_config(
        config,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="sigma_min",
        lower_order_final=False,
        timestep_spacing="linspace",
    )
    solver.set_timesteps(steps)
    return solver
