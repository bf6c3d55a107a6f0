"""Stage 1's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.settings import require


class AttentionMaps(str, Enum):
    """Which cross-attention maps the DA loss looks at."""

    PAPER = "paper"
    """Attention probabilities of every layer of the resolution, min-max normalised per sample."""
    AUTHORS = "authors"
    """As in the authors' code: scores under a softmax over the pixels, the down blocks' layers alone, min-max
    normalised over the batch."""


@dataclass(frozen=True)
class FinetuneConfig:
    """Stage 1. The defaults are the authors' for SD 1.4 (configs/seas.yaml of SeaS), but for `steps`: 800 a
    defect."""

    steps: int = 800
    defect_images: int = 2
    """Defect images of a batch, of all defects mixed."""
    normal_images: int = 2
    """Normal images of a batch."""
    anomaly_tokens: int = 4
    """N, the anomaly tokens of each defect."""
    unet_learning_rate: float = 4e-6
    embedding_learning_rate: float = 4e-5
    """For the new tokens' rows."""
    alignment_weight: float = 1.0
    """Weight of the DA loss beside the two noise losses."""
    attention: AttentionMaps = AttentionMaps.PAPER
    rotate: bool = True
    """Random rotations by multiples of 90 degrees; off for products that have an upright, as VisA's."""
    flip: bool = True
    """Random mirror images."""
    normal_augmentations: int | None = None
    """How many augmentations each normal image is drawn in (each costs an encoding before the first step);
    none for all."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(gradient_accumulation=2, eight_bit=True)
    )

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", "1 or more", self.steps)
        require(self.defect_images >= 1, "defect_images", "1 or more", self.defect_images)
        require(self.normal_images >= 1, "normal_images", "1 or more", self.normal_images)
        require(self.anomaly_tokens >= 1, "anomaly_tokens", "1 or more", self.anomaly_tokens)
        require(self.unet_learning_rate > 0, "unet_learning_rate", "more than 0", self.unet_learning_rate)
        require(
            self.embedding_learning_rate > 0,
            "embedding_learning_rate",
            "more than 0",
            self.embedding_learning_rate,
        )
        require(
            self.normal_augmentations is None or self.normal_augmentations >= 1,
            "normal_augmentations",
            "1 or more, or none",
            self.normal_augmentations,
        )
        require(self.alignment_weight >= 0, "alignment_weight", "0 or more", self.alignment_weight)
