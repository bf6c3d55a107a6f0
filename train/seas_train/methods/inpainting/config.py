"""Settings that all these methods have."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from seas_runtime.methods.blending.inputs import LEAST_STRENGTH
from seas_train.diffusion.solver import base_spacing
from seas_train.settings import Bound, Settings, within

Word = Annotated[str, Bound("a word or several", lambda word: bool(word.strip()))]


class Reproduced(str, Enum):
    """Whose rules are followed; docs/fidelity.md has them side by side."""

    PAPER = "paper"
    AUTHORS = "authors"


@dataclass(frozen=True)
class InpaintingGeneration(Settings):
    """Defaults of generation that a checkpoint recommends."""

    guidance: Annotated[float, within(0, 100)] = 1.0
    strength: Annotated[float, within(LEAST_STRENGTH, 1)] = 1.0
    """The part of the sampler's steps that pairs are run; at 1 from noise, as the papers have it."""

    def described(self, scheduler: Any) -> dict[str, Any]:
        """The checkpoint's section `generation`, with the timestep spacing of the base's scheduler."""
        return {**self.to_dict(), "timestep_spacing": base_spacing(scheduler.config)}
