"""What a request may ask of a method that draws into photographs with a frozen base."""

from __future__ import annotations

from dataclasses import dataclass

from seas_runtime.manifest.fields import check_number
from seas_runtime.methods.blending.inputs import LEAST_STRENGTH, STRENGTH


@dataclass(frozen=True)
class InpaintingOptions:
    """None stands for the bundle's own. Raises UserError for a value out of range."""

    strength: float | None = None
    """0.01 to 1: the part of the steps that are run, from the noised background on (SDEdit, arXiv
    2108.01073). At 1 all are, from noise, as the papers have it."""

    def __post_init__(self) -> None:
        if self.strength is not None:
            check_number(STRENGTH, self.strength, LEAST_STRENGTH, 1.0)
