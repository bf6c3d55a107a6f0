"""The authors' sampler as diffusers' own scheduler object, from which schedule tables are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SPACINGS = ("linspace", "leading", "trailing")
"""How diffusers spaces a sampler's timesteps over the noise schedule."""
_SOLVERS_OWN = "linspace"
"""diffusers' default for this solver."""


@dataclass(frozen=True)
class SolverRules:
    """What DPM-Solver++ 2M is told beside the noise schedule."""

    spacing: str | None = None
    """One of `SPACINGS`; None follows the scheduler's configuration, as diffusers does."""
    short_first_order: bool = False
    """Whether fewer than 15 steps end by a first-order step, as diffusers' default and so the authors' code;
    otherwise every number ends by a second-order one."""

    @classmethod
    def of(cls, generation: Mapping[str, Any]) -> SolverRules:
        """The rules of a checkpoint's section `generation`; one that says nothing was made for linspace."""
        return cls(
            generation.get("timestep_spacing", _SOLVERS_OWN),
            generation.get("short_schedules") == "first_order",
        )


def base_spacing(config: Any) -> str:
    """Return the timestep spacing that a base's scheduler file says; where it says none, the solver's own.

    Args:
        config: the loaded scheduler's configuration, in which diffusers marks what its file left out.
    """
    said = config.get("timestep_spacing")
    unsaid = said is None or "timestep_spacing" in config.get("_use_default_values", ())
    return _SOLVERS_OWN if unsaid else str(said)


def dpm_solver(
    config: Any,
    steps: int,
    rules: SolverRules | None = None,
    *,
    algorithm: str = "dpmsolver++",
    karras: bool = False,
) -> Any:
    """Return DPM-Solver++ 2M for a base's scheduler configuration, with `steps` timesteps set; it ends at
    t = 0.

    `algorithm` is diffusers' name of it or of its SDE form. With `karras` the noise levels are those of
    Karras et al. 2022 (arXiv 2206.00364, equation 5), and it ends without noise: their last is t = 0's.
    """
    from diffusers import DPMSolverMultistepScheduler

    rules = rules or SolverRules()
    solver = DPMSolverMultistepScheduler.from_config(
        config,
        algorithm_type=algorithm,
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero" if karras else "sigma_min",
        use_karras_sigmas=karras,
        lower_order_final=rules.short_first_order,
        euler_at_final=False,
        timestep_spacing=rules.spacing or base_spacing(config),
    )
    solver.set_timesteps(steps)
    return solver
