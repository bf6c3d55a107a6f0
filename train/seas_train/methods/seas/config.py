"""The configuration of a whole training run, and its defaults for a base."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated, Any

from seas_runtime.methods.blending.inputs import LEAST_STRENGTH
from seas_train.bases.base import Base, is_small
from seas_train.data import Layout
from seas_train.diffusion.solver import base_spacing
from seas_train.methods.seas.finetune.config import FinetuneConfig, WeightedRegion
from seas_train.methods.seas.mask_head.config import DrawnBy, MaskHeadConfig
from seas_train.settings import Count, Fraction, Settings, Whole, within
from seas_train.training.optimizer import OptimizerConfig, Schedule
from seas_train.training.precision import Precision
from seas_train.training.stage import LoopConfig

STEPS_PER_DEFECT = 800
"""Steps of either stage for SD 1.x (the authors' scripts)."""
AUTHORS_GUIDANCE = {Layout.MVTEC: 8.0, Layout.VISA: 2.0, Layout.MVTEC3D: 5.0}
"""The authors' guidance per dataset (section 4 and scripts of SeaS)."""


def authors_guidance(layout: Layout) -> float:
    """Return the authors' guidance for a layout; for one that they never had, that of MVTec AD."""
    return AUTHORS_GUIDANCE.get(layout, AUTHORS_GUIDANCE[Layout.MVTEC])


AUTHORS_TAU = 0.2
"""The authors' threshold on the mean of the last three maps."""
_SMALL_STRENGTH = 0.4
"""For a base as small as `micro`: from noise it often draws nothing into a photograph; from 0.2 to 0.7 it
keeps the look that it starts from, and at 0.7 fine cracks go, as seen side by side."""
_SMALL_SPECK_SHARE = 0.25
"""For the same: its mask head, which trains for minutes, marks specks on surfaces that it never saw."""
_SMALL_REGIONS_GUIDANCE = 2.0
"""For the same on regions: what is drawn is the same from 1 to 2.5, as seen side by side."""
_SMALL_GUIDANCE = 3.5
"""For a base as small as `micro`: at 2 more small defects are missing, as seen side by side from 2 to 4."""


class ReferenceScale(str, Enum):
    """Scale of the latents that generation starts from."""

    UNSCALED = "unscaled"
    """The VAE's latents of normal images as they are, as in the authors' code."""
    SCALED = "scaled"
    """Multiplied by the scaling factor, as the U-Net was trained to see latents."""


class StartPhotograph(str, Enum):
    """The reference that a pair starts from."""

    DRAWN = "drawn"
    """One of all, by the seed."""
    IN_ORDER = "in_order"
    """The first ten of the folder one after the other, as in the authors' code."""


class Threshold(str, Enum):
    """Whether a pixel whose probability is tau itself is defective."""

    AT_LEAST = "at_least"
    ABOVE = "above"
    """It is not, as in the authors' code."""


class TimestepSpacing(str, Enum):
    """How the sampler's timesteps lie in the noise schedule (diffusers' `timestep_spacing`)."""

    BASE = "base"
    """As the base's scheduler file says; linspace where it says nothing, as diffusers' solver has it."""
    LINSPACE = "linspace"
    LEADING = "leading"
    TRAILING = "trailing"


class ShortSchedules(str, Enum):
    """The last step of the sampler with fewer than 15 steps."""

    SECOND_ORDER = "second_order"
    """As with more steps."""
    FIRST_ORDER = "first_order"
    """diffusers' default, and so the authors' code."""


@dataclass(frozen=True)
class GenerationConfig(Settings):
    """Defaults of generation that the checkpoint recommends."""

    guidance: Annotated[float, within(0, 100)] = 8.0
    tau: Fraction = AUTHORS_TAU
    """A pixel is defective where the mean probability is at least this; see `threshold`."""
    references: ReferenceScale = ReferenceScale.UNSCALED
    start: StartPhotograph = StartPhotograph.DRAWN
    threshold: Threshold = Threshold.AT_LEAST
    timestep_spacing: TimestepSpacing = TimestepSpacing.BASE
    short_schedules: ShortSchedules = ShortSchedules.SECOND_ORDER
    speck_share: Annotated[float, within(0, 1)] = 0.0
    """Connected parts of a mask smaller than this share of the smallest training defect are dropped."""
    strength: Annotated[float, within(LEAST_STRENGTH, 1)] = 1.0
    """The part of the sampler's steps that placed pairs are run. Below 1 they start from their noised window,
    with the look of a real defect laid into the placement; at 1 from noise, as the papers have it."""

    def described(self, scheduler: Any) -> dict[str, Any]:
        """The checkpoint's section `generation`, in which the spacing is the one that is meant.

        Args:
            scheduler: the base's.
        """
        values = self.to_dict()
        if self.timestep_spacing is TimestepSpacing.BASE:
            values["timestep_spacing"] = base_spacing(scheduler.config)
        return values


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Both stages, and how they are run."""

    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    mask_head: MaskHeadConfig = field(default_factory=MaskHeadConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    seed: Whole = 0
    save_every: Count = 100
    """Steps between saved states: the most that a killed run loses."""
    preview_every: Whole = 0
    """Steps between preview sheets; 0 for none."""
    precision: Precision = Precision.FP32

    @property
    def loop(self) -> LoopConfig:
        """The training loop's part of it."""
        return LoopConfig(self.seed, self.save_every, self.preview_every, self.precision)

    @classmethod
    def for_base(
        cls, base: Base, defects: int, layout: Layout = Layout.MVTEC, *, regions: bool = False
    ) -> TrainConfig:
        """The defaults: the authors' for SD 1.x and its relatives, our measured ones for a base as small as
        `micro`.

        Args:
            base: what will be trained.
            defects: how many the product has; the authors train 800 steps for each.
            layout: VisA's products are not rotated or flipped, and the datasets differ in guidance.
            regions: whether it is trained on regions of photographs: a small base then learns what defects
                look like, not where they lie, and its mask head sees surfaces that it never saw before.
        """
        if is_small(base):
            finetune, mask_head = _small_finetune(), _small_mask_head()
            if regions:
                finetune, mask_head = _on_regions(finetune, mask_head)
        else:
            steps = STEPS_PER_DEFECT * defects
            finetune = FinetuneConfig(steps=steps)
            mask_head = replace(MaskHeadConfig(), steps=steps)
        every = 200 if is_small(base) else 500
        upright = layout is Layout.VISA
        finetune = replace(finetune, rotate=not upright, flip=not upright)
        guidance = authors_guidance(layout)
        generation = GenerationConfig(guidance=guidance)
        if is_small(base):
            most = _SMALL_REGIONS_GUIDANCE if regions else _SMALL_GUIDANCE
            generation = GenerationConfig(
                min(guidance, most), speck_share=_SMALL_SPECK_SHARE, strength=_SMALL_STRENGTH
            )
        # A small base's training is short, and sheets are a part of its time: one, of the end.
        previews = finetune.steps if is_small(base) else every
        return cls(finetune, mask_head, generation, save_every=every, preview_every=previews)


def _small_finetune() -> FinetuneConfig:
    return FinetuneConfig(
        steps=650,
        unet_learning_rate=1.2e-3,
        embedding_learning_rate=5e-2,
        normal_augmentations=2,
        noisy_share=0.5,
        high_noise_weight=50.0,
        region_weight=5.0,
        half_precision=True,
        optimizer=OptimizerConfig(
            schedule=Schedule.COSINE, warmup_steps=20, final_learning_rate=0.05, gradient_clip=1.0, ema=0.98
        ),
    )


def _small_mask_head() -> MaskHeadConfig:
    # A quarter of the authors' width, with their channels per head (24) and per group (6).
    return MaskHeadConfig(
        steps=60,
        learning_rate=2e-3,
        coarse_width=32,
        fine_width=16,
        heads=2,
        groups=8,
        max_timestep=200,
        decoder_steps=600,
        decoder_learning_rate=2e-3,
        decoder_width=32,
        calibrate_to=0.2,
        half_precision=True,
        optimizer=OptimizerConfig(schedule=Schedule.COSINE, warmup_steps=10, gradient_clip=1.0),
    )


def _on_regions(finetune: FinetuneConfig, mask_head: MaskHeadConfig) -> tuple[FinetuneConfig, MaskHeadConfig]:
    """A small base's settings for regions: the background gives the layout, which high noise settles."""
    return (
        replace(
            finetune,
            defect_images=3,
            normal_images=1,
            noisy_share=0.25,
            high_noise_weight=8.0,
            region_weight=10.0,
            weighted_region=WeightedRegion.OWN_MASK,
        ),
        replace(mask_head, steps=480, defect_images=3, normal_images=1, drawn_by=DrawnBy.DEFECTS),
    )
