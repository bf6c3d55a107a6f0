"""AnomalyXFusion's configuration and its defaults for a base. The paper leaves most numbers open."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from seas_train.bases.base import Base, is_small
from seas_train.methods.inpainting.config import InpaintingGeneration, Word
from seas_train.settings import Count, FromOne, Positive, Settings, Whole
from seas_train.training.optimizer import OptimizerConfig, Schedule
from seas_train.training.precision import Precision
from seas_train.training.stage import LoopConfig

SMALL_GUIDANCE = 5.0
"""Of `micro`, away from the empty sentence. Without guidance, as the paper has it, defects came out faint."""


@dataclass(frozen=True)
class AnomalyXFusionConfig(Settings):
    """The fusion, and what is learned with it. Numbers are ours where nothing else is said."""

    tokens: Count = 4
    """k: the sentence's feature is repeated so often, and there are as many tokens of place and of texture.
    The spatial tokens of AnomalyDiffusion, which the paper builds on, are four."""
    heads: Count = 4
    """Of the self-attention."""
    word: Word = "defect"
    """What textures start as without an image encoder."""
    image_encoder: Path | None = None
    """A folder with CLIP's image tower, openai/clip-vit-large-patch14 in transformers' format; textures start
    as its features of the defects."""
    captions: Path | None = None
    """Sentences of the training pictures: a folder `DEFECT/NNN.txt`, a CSV or a JSON file; None for the
    product's own `captions` or `prompt`."""
    images: Count = 4
    """Of a step, of all defects mixed."""
    steps: Count = 4000
    """For each defect on SD 1.x: about what AnomalyDiffusion's runs come to."""
    learning_rate: Positive = 1e-3
    """Of fusion and encoder: a common one of Adam, for networks."""
    texture_learning_rate: Positive = 5e-3
    """Of the textures, a learned embedding as AnoGen's."""
    region_weight: FromOne = 1.0
    """Of the squared errors in the masks, beside 1 elsewhere. The paper has none. A base as small as `micro`
    learnt little of small defects without: they came out faint."""
    flip: bool = True
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass(frozen=True)
class TrainConfig(Settings):
    """AnomalyXFusion's training, and how it is run."""

    anomalyxfusion: AnomalyXFusionConfig = field(default_factory=AnomalyXFusionConfig)
    generation: InpaintingGeneration = field(default_factory=InpaintingGeneration)
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
    def for_base(cls, base: Base, defects: int) -> TrainConfig:
        """Return the defaults; the authors' public code has no fusion, so that there is one set of rules."""
        learned = AnomalyXFusionConfig()
        small = is_small(base)
        if small:
            cosine = OptimizerConfig(schedule=Schedule.COSINE, warmup_steps=20, gradient_clip=1.0)
            learned = replace(
                learned,
                steps=900,
                learning_rate=2e-3,
                region_weight=30.0,
                half_precision=True,
                optimizer=cosine,
            )
        else:
            learned = replace(learned, steps=learned.steps * defects)
        generation = InpaintingGeneration(SMALL_GUIDANCE) if small else InpaintingGeneration()
        return cls(learned, generation, save_every=200 if small else 500)
