"""Options of an export that not every bundle has."""

from __future__ import annotations

from dataclasses import dataclass

from seas_runtime.methods.seas import START_TIMESTEPS


@dataclass(frozen=True)
class Extras:
    """What a bundle may have beside what every one has."""

    own_prompts: bool = False
    """The tokenizer, so that prompts of one's own can be encoded."""
    guidance_rescale: float | None = None
    """The default of guidance rescale's phi; the step graph takes one only where it is given."""
    add_noise_step: int = START_TIMESTEPS
    """Steps that the noise schedule is stretched to for the start."""


NONE = Extras()
"""What bundles have where nothing is asked for."""
