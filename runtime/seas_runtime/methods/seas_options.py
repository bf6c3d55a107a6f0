"""What a request may ask of SeaS beside a defect: prompts of one's own, guidance rescale, the start, and how
far a placed pair goes from its background, and how many of the last steps give a mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import check_integer, check_number, describe
from seas_runtime.manifest.types import STEP
from seas_runtime.methods.blending.inputs import LEAST_STRENGTH, STRENGTH, steps_left
from seas_runtime.methods.contract import Content
from seas_runtime.methods.request import Request

STARTS = ("reference", "noise")
MASK_STEPS = 3
"""The last steps whose probability maps are averaged (section 3.4), and the most that can be."""
RESCALE = "guidance_rescale"
"""Input of the step graph, and key of the manifest's `generation`."""


@dataclass(frozen=True)
class SeasOptions:
    """None stands for the bundle's own. Raises UserError for a value out of range."""

    prompt: str | None = None
    """In place of the defect's; its pairs may have any name."""
    negative_prompt: str | None = None
    """In place of the empty one that guidance leads away from."""
    guidance_rescale: float | None = None
    """phi of Lin et al. 2023 (arXiv 2305.08891, equation 16), 0 to 1; 0 is none."""
    start: str | None = None
    """`reference`, a noised normal image, or `noise` alone."""
    strength: float | None = None
    """Of placed pairs, 0.01 to 1: the part of the steps that are run, from the noised background on (SDEdit,
    arXiv 2108.01073). At 1 all are, and the defect starts as `start` says."""
    mask_steps: int | None = None
    """1 to 3: how many of the last steps' probability maps are averaged to a mask; each is a decode."""

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise UserError(f"{name}: expected text that is not empty, found {describe(value)}")
        if self.guidance_rescale is not None:
            check_number(RESCALE, self.guidance_rescale, 0.0, 1.0)
        if self.strength is not None:
            check_number(STRENGTH, self.strength, LEAST_STRENGTH, 1.0)
        if self.mask_steps is not None:
            check_integer("mask_steps", self.mask_steps, 1, MASK_STEPS)
        if self.start is not None and self.start not in STARTS:
            raise UserError(f"start: expected one of {', '.join(STARTS)}, found {describe(self.start)}")

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the text encoder has to encode."""
        return tuple(text for text in (self.prompt, self.negative_prompt) if text is not None)

    def masked(self, generation: Mapping[str, int]) -> int:
        """Return how many of the last steps give a mask, by default those of a bundle's `generation`."""
        return generation["mask_steps"] if self.mask_steps is None else self.mask_steps

    def rescale(self, generation: Mapping[str, float]) -> float:
        """Return phi, by default that of a bundle's `generation`."""
        phi = self.guidance_rescale
        return float(generation.get(RESCALE, 0.0) if phi is None else phi)


def check_options(content: Content, request: Request) -> None:
    """Refuse what the bundle's step graph does not take, or what guidance 1 would leave without effect."""
    options = request.options
    given = [name for name in ("negative_prompt", RESCALE) if getattr(options, name) is not None]
    if given and request.sampling.guidance == 1 and options.guidance_rescale != 0:
        raise UserError(f"{given[0]}: has no effect with guidance 1; leave it out or change the guidance")
    if options.guidance_rescale and content.manifest.graphs[STEP].input(RESCALE) is None:
        raise UserError(
            f"{RESCALE}: this bundle's step graph does not take it; export the bundle again with "
            "--guidance-rescale, or leave it out"
        )
    if options.mask_steps is not None:
        _check_mask_steps(content, request)


def _check_mask_steps(content: Content, request: Request) -> None:
    """Refuse more masks than a pair has steps."""
    options, steps = request.options, content.schedule(request.sampling.sampler, request.sampling.steps).steps
    if request.placing is not None:
        own = content.manifest.generation.get(STRENGTH, 1.0)
        steps = steps_left(steps, own if options.strength is None else options.strength)
    if options.mask_steps > steps:
        raise UserError(
            f"mask_steps: expected at most {steps}, as many as a pair's steps here, found "
            f"{options.mask_steps}; ask for fewer, or for more steps"
        )
