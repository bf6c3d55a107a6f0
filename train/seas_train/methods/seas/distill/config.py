"""Distillation's configuration, and its defaults for a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from seas_runtime.methods.seas_options import MASK_STEPS
from seas_train.bases.base import Base, is_small
from seas_train.data import Product
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.finetune.config import FinetuneConfig
from seas_train.methods.seas.mask_head.config import MaskHeadConfig
from seas_train.settings import Count, FromOne, Positive, Settings, Share, Whole, overlay, require, within
from seas_train.training.optimizer import OptimizerConfig, Schedule
from seas_train.training.precision import Precision
from seas_train.training.stage import LoopConfig

MOST_STUDENT_STEPS = 8


@dataclass(frozen=True)
class DistillStageConfig(Settings):
    """The consistency stage. Defaults are those of diffusers' distillation script for SD 1.x, but for
    `steps`."""

    steps: Count = 1000
    defect_images: Count = 2
    """Defect images of a batch."""
    normal_images: Count = 2
    """Normal images of a batch."""
    learning_rate: Positive = 1e-6
    huber: Positive = 1e-3
    """c of the pseudo-Huber distance sqrt(d^2 + c^2) - c between student and target."""
    skip: Count = 20
    """Timesteps of 1000 that the teacher's step of DDIM skips (k of the paper): the more, the fewer steps to
    learn in, and the larger the error."""
    region_weight: FromOne = 1.0
    """Weight of a defect image's loss where defects lie, as in fine-tuning."""
    generated_share: Share = 0.5
    """Of a batch's images of a kind: how many are pictures that the teacher made beforehand, where there are
    some."""
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively; elsewhere the loop's precision decides."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""
    lora_rank: Whole = 0
    """Rank of adapters on the attention layers, trained in place of the U-Net and merged at the end. The
    teacher is then the U-Net without them, and no second one is on the device."""
    lora_learning_rate: Positive = 1e-4
    """For the adapters, in place of `learning_rate`."""
    half_frozen: bool = False
    """With adapters: keep the weights below them in bfloat16 while training."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(gradient_clip=1.0, ema=0.95, eight_bit=True)
    )
    """Its moving average is the target, and the student in the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.lora_rank > 0 or not self.half_frozen, "half_frozen", "lora_rank of 1 or more with it", 0
        )
        require(self.optimizer.ema > 0, "optimizer.ema", "above 0: the average is the target", 0)


@dataclass(frozen=True)
class DistillConfig(Settings):
    """The student, its training, and that of its mask head."""

    student_steps: Annotated[int, within(1, MOST_STUDENT_STEPS)] = 4
    """Steps that the student is made for: its bundles' default."""
    mask_steps: Annotated[int, within(1, MASK_STEPS)] = 1
    """Last steps whose masks are averaged."""
    distill: DistillStageConfig = field(default_factory=DistillStageConfig)
    mask_head: MaskHeadConfig = field(default_factory=MaskHeadConfig)
    seed: Whole = 0
    save_every: Count = 100
    """Steps between saved states: the most that a killed run loses."""
    preview_every: Whole = 0
    """Steps between preview sheets; 0 for none."""
    precision: Precision = Precision.FP32

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.mask_steps <= self.student_steps,
            "mask_steps",
            f"at most the student's {self.student_steps} steps",
            self.mask_steps,
        )

    @property
    def loop(self) -> LoopConfig:
        """The training loop's part of it."""
        return LoopConfig(self.seed, self.save_every, self.preview_every, self.precision)

    @classmethod
    def of(cls, base: Base, product: Product, trained: TrainConfig) -> DistillConfig:
        """The defaults: for SD 1.x the script's, for a base as small as `micro` ours; the mask head's are
        those of the teacher's training."""
        if not is_small(base):
            steps = 250 * len(product.defects)
            stage = DistillStageConfig(steps=steps)
            return cls(distill=stage, mask_head=trained.mask_head, save_every=500, preview_every=500)
        stage = DistillStageConfig(
            steps=250,
            learning_rate=4e-4,
            skip=80,
            region_weight=trained.finetune.region_weight,
            half_precision=True,
            optimizer=OptimizerConfig(
                schedule=Schedule.COSINE,
                warmup_steps=20,
                gradient_clip=1.0,
                ema=0.95,
                final_learning_rate=0.05,
            ),
        )
        return cls(distill=stage, mask_head=trained.mask_head, save_every=100, preview_every=stage.steps)


def trained_config(training: Mapping[str, Any], base: Base, product: Product) -> TrainConfig:
    """Return the configuration that a checkpoint was trained with, as its description has it; of one that was
    trained elsewhere, the defaults."""
    config = TrainConfig.for_base(
        base, len(product.defects), product.layout, regions=product.regions is not None
    )
    known = {name: training[name] for name in ("finetune", "mask_head", "seed") if name in training}
    return overlay(config, known, "the checkpoint's description", "training") if known else config


def as_finetune(config: DistillStageConfig, trained: FinetuneConfig) -> FinetuneConfig:
    """Return the part of it that fine-tuning's estimate of memory reads."""
    return replace(
        trained,
        defect_images=config.defect_images,
        normal_images=config.normal_images,
        half_precision=config.half_precision,
        gradient_checkpointing=config.gradient_checkpointing,
        lora_rank=config.lora_rank,
        half_frozen=config.half_frozen,
        optimizer=config.optimizer,
    )
