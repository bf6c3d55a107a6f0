"""AnoGen's configuration, its defaults for a base, and whose rules they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated

from seas_train.bases.base import Base, is_small
from seas_train.methods.inpainting.config import InpaintingGeneration, Reproduced, Word
from seas_train.settings import Count, Positive, Settings, Whole, within
from seas_train.training.optimizer import OptimizerConfig, Schedule
from seas_train.training.precision import Precision
from seas_train.training.stage import LoopConfig

GUIDANCE, SMALL_GUIDANCE = 10.0, 2.0
"""The paper's and the code's; and of `micro`, whose defects are blobs of black and white from 3.5 on."""
STEPS, RATE = 6000, 0.005
"""The paper's."""
AUTHORS_STEPS, AUTHORS_RATE = 6100, 0.02
"""The code's; its rate of 0.005 is multiplied by the batch of four."""


class Embedding(str, Enum):
    """Where the learned embedding is put."""

    OUTPUT = "output"
    """In place of the text encoder's output (the paper's)."""
    INPUT = "input"
    """As a token's row at the text encoder's input, of the prompt `*` (the code's)."""


@dataclass(frozen=True)
class AnoGenConfig(Settings):
    """What is learned, and from what."""

    embedding: Embedding = Embedding.OUTPUT
    word: Word = "defect"
    """What the embeddings start as."""
    shots: Annotated[int, within(1, 5)] = 3
    """Training pairs of each defect, drawn by the seed."""
    images: Count = 4
    """Of each defect in a step. All defects' embeddings are learned at once, each as if alone."""
    steps: Count = STEPS
    learning_rate: Positive = RATE
    flip: bool = True
    """Random mirror images."""
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass(frozen=True)
class TrainConfig(Settings):
    """AnoGen's training, and how it is run."""

    anogen: AnoGenConfig = field(default_factory=AnoGenConfig)
    generation: InpaintingGeneration = field(default_factory=lambda: InpaintingGeneration(GUIDANCE))
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
    def for_base(cls, base: Base, rules: str | None = None) -> TrainConfig:
        """Return the defaults: the paper's for SD 1.x, short ones for a base as small as `micro`.

        `rules`, `paper` or `authors`, sets whose; steps and rates of a small base stay its own.
        """
        small, authors = is_small(base), rules == Reproduced.AUTHORS.value
        learned = AnoGenConfig(embedding=Embedding.INPUT if authors else Embedding.OUTPUT)
        if small:
            cosine = OptimizerConfig(schedule=Schedule.COSINE, warmup_steps=10, gradient_clip=1.0)
            learned = replace(
                learned, images=2, steps=400, learning_rate=0.03, half_precision=True, optimizer=cosine
            )
        elif authors:
            learned = replace(learned, steps=AUTHORS_STEPS, learning_rate=AUTHORS_RATE)
        guidance = SMALL_GUIDANCE if small else GUIDANCE
        return cls(learned, InpaintingGeneration(guidance), save_every=200 if small else 500)
