"""Options of an export that not every bundle has."""

from __future__ import annotations

from dataclasses import dataclass

from seas_runtime.methods.seas import START_TIMESTEPS

BACKGROUNDS, MOST_BACKGROUNDS = 16, 100
"""Photographs that a bundle carries by default, and at most."""


@dataclass(frozen=True)
class Extras:
    """What a bundle may have beside what every one has."""

    own_prompts: bool = False
    """The tokenizer, so that prompts of one's own can be encoded."""
    guidance_rescale: float | None = None
    """The default of guidance rescale's phi; the step graph takes one only where it is given."""
    add_noise_step: int = START_TIMESTEPS
    """Steps that the noise schedule is stretched to for the start."""
    samplers: tuple[str, ...] = ()
    """Samplers that are tabulated beside the default's."""
    backgrounds: int = BACKGROUNDS
    """Photographs of normals to draw into, at most."""


NONE = Extras()
"""What bundles have where nothing is asked for."""
