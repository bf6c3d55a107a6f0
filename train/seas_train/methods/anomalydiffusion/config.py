"""AnomalyDiffusion's configuration, its defaults for a base, and whose rules they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated, Any

from seas_train.bases.base import Base, is_small
from seas_train.methods.inpainting.config import InpaintingGeneration, Reproduced, Word
from seas_train.settings import Count, Positive, Settings, Whole, one_of, within
from seas_train.training.optimizer import OptimizerConfig, Schedule
from seas_train.training.precision import Precision
from seas_train.training.stage import LoopConfig

STEPS_PER_DEFECT = 4110
"""300,000 steps of the authors' runs over 73 defects."""
TEXT_RATE = 0.02
"""The authors' effective rate: 0.005 times a batch of four."""
MASK_STEPS = 30_000
SMALL_GUIDANCE = 6.0
"""Of `micro`, whose defects are faint without; the paper has none."""
PAPER_TOKENS, AUTHORS_TOKENS = 8, 4
PAPER_MASK_TOKENS, AUTHORS_MASK_TOKENS = 4, 16


class Encoder(str, Enum):
    """The spatial encoder."""

    PYRAMID = "pyramid"
    """ResNet-50 with a feature pyramid (the paper's)."""
    SMALL = "small"
    """Four strided convolutions, for a base as small as `micro`."""


@dataclass(frozen=True)
class AnomalyDiffusionConfig(Settings):
    """The spatial anomaly embedding."""

    anomaly_tokens: Count = PAPER_TOKENS
    """k, of each defect."""
    spatial_tokens: Count = 4
    """n, from the mask."""
    word: Word = "anomaly"
    """What the anomaly tokens start as."""
    encoder: Encoder = Encoder.PYRAMID
    images: Count = 4
    """Of a step, of all defects mixed."""
    steps: Count = STEPS_PER_DEFECT
    learning_rate: Positive = TEXT_RATE
    """Of the tokens."""
    encoder_learning_rate: Positive = 1e-4
    """Of the spatial encoder: the tokens' rate does not fit a network."""
    rotate: Annotated[float, within(0, 180)] = 20.0
    """Degrees that image and mask are turned by at most."""
    crop: Annotated[float, within(0.25, 1)] = 0.75
    """The least side of a crop, a share of the image's; it keeps the mask. 1 crops nothing."""
    flip: bool = True
    variants: Count = 64
    """Augmented versions of each pair that are encoded."""
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(weight_decay=0.0))
    """Without weight decay AdamW is Adam, the authors'."""


@dataclass(frozen=True)
class MaskModelConfig(Settings):
    """The embedding that masks are generated from."""

    tokens: Count = PAPER_MASK_TOKENS
    """k', of each defect."""
    start: str = "random"
    """What they start as: `random` rows (the paper's), or a word (the code's is "crack")."""
    images: Count = 4
    steps: Whole = MASK_STEPS
    """Of all defects together; 0 learns none, and the bundle makes no masks."""
    learning_rate: Positive = TEXT_RATE


@dataclass(frozen=True)
class Generation(InpaintingGeneration):
    """Defaults of generation."""

    reweight: Annotated[str, one_of("auto", "authors", "paper", "off")] = "auto"
    """Adaptive attention re-weighting; `auto` is the authors' form for textures, which fill the photograph,
    and none for objects."""


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Both parts, and how training is run."""

    anomalydiffusion: AnomalyDiffusionConfig = field(default_factory=AnomalyDiffusionConfig)
    masks: MaskModelConfig = field(default_factory=MaskModelConfig)
    generation: Generation = field(default_factory=Generation)
    seed: Whole = 0
    save_every: Count = 100
    """Steps between saved states: the most that a killed run loses."""
    preview_every: Whole = 0
    """This method draws no preview sheets."""
    precision: Precision = Precision.FP32

    @property
    def loop(self) -> LoopConfig:
        """The training loop's part of it."""
        return LoopConfig(self.seed, self.save_every, self.preview_every, self.precision)

    @classmethod
    def for_base(cls, base: Base, defects: int, rules: str | None = None) -> TrainConfig:
        """Return the defaults: the paper's for SD 1.x, short ones for a base as small as `micro`.

        `rules`, `paper` or `authors`, sets whose; steps and rates of a small base stay its own.
        """
        authors = rules == Reproduced.AUTHORS.value
        learned = AnomalyDiffusionConfig(steps=STEPS_PER_DEFECT * defects)
        masks = MaskModelConfig()
        if authors:
            learned = replace(learned, anomaly_tokens=AUTHORS_TOKENS)
            masks = replace(masks, tokens=AUTHORS_MASK_TOKENS, start="crack")
        small = is_small(base)
        if small:
            cosine = OptimizerConfig(
                schedule=Schedule.COSINE, warmup_steps=20, gradient_clip=1.0, weight_decay=0.0
            )
            shared: dict[str, Any] = {"half_precision": True, "optimizer": cosine, "variants": 8}
            learned = replace(learned, steps=700, encoder=Encoder.SMALL, encoder_learning_rate=2e-3, **shared)
            masks = replace(masks, steps=400)
        generation = Generation(SMALL_GUIDANCE) if small else Generation()
        return cls(learned, masks, generation, save_every=200 if small else 500)
