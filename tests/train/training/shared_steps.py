"""A short fine-tuning that a test runs here and, by `python -m`, in processes that share its steps."""

from __future__ import annotations

import sys
from pathlib import Path

from seas_train.bases.base import load_base
from seas_train.data import load_product
from seas_train.methods.seas.finetune.config import FinetuneConfig
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.stage import LoopConfig

STEPS = 3


def stage(base: Path, product: Path, parts: int = 2) -> FinetuneStage:
    """Stage 1 of a tiny base; a step sums up `parts` batches."""
    config = FinetuneConfig(
        steps=STEPS,
        unet_learning_rate=1e-3,
        embedding_learning_rate=1e-2,
        optimizer=OptimizerConfig(gradient_accumulation=parts, gradient_clip=1.0),
    )
    return FinetuneStage(load_product(product, size=64), load_base(base), config)


def train(base: Path, product: Path, run: Path) -> None:
    """Train to the end, and save the last state."""
    run_training(stage(base, product), run, LoopConfig(save_every=STEPS), progress=False)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    train(*map(Path, sys.argv[1:]))
