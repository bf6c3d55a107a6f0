"""A stage small enough to watch: a linear map with a batch norm and dropout, learning to copy."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.random import StepRandom
from seas_train.training.stage import Batch, LoopConfig, Stage


class Killed(BaseException):
    """The toy's way of dying in the middle of a run."""


@dataclass
class Toy(Stage):
    """`die_at` ends the run in that step, after `broken_at`'s batch gave NaN."""

    steps: int = 7
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(ema=0.5, warmup_steps=2))
    width: int = 3
    die_at: int | None = None
    really_die: bool = False
    broken_at: int | None = None
    drawn: int = 0
    prepared: int = 0

    name = "toy"

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = nn.Sequential(
                nn.Linear(self.width, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, self.width)
            )
        self.module[3].bias.requires_grad_(False)

    def identity(self) -> dict[str, Any]:
        return {"config": {"width": self.width}, "data": "none"}

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": 0.05}]

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        self.prepared += 1

    def draw(self, random: StepRandom) -> Batch:
        self.drawn += 1
        if self.drawn == self.die_at:
            if self.really_die:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed
        x = torch.randn(6, self.width, generator=random.torch) + float(random.numpy.normal())
        if self.drawn == self.broken_at:
            x[0, 0] = float("nan")
        return Batch({"x": x}, files=(f"photo{self.drawn}.png", "other.png"))

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        loss = (model(tensors["x"]) - tensors["x"]).square().mean()
        return {"loss": loss, "twice": 2 * loss}

    def preview(self) -> NDArray[np.uint8]:
        return np.full((2, 3, 3), self.module[0].weight.abs().sum().item() % 256, dtype=np.uint8)


if __name__ == "__main__":  # run by the test that kills it
    import sys

    torch.set_num_threads(1)
    toy = Toy(die_at=int(sys.argv[2]), really_die=True)
    run_training(toy, Path(sys.argv[1]), LoopConfig(save_every=2), progress=False)
