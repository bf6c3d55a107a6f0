"""A stage of training, and how the loop runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seas_train.settings import Count, Settings, Whole
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.precision import Precision
from seas_train.training.random import StepRandom


@dataclass(frozen=True)
class LoopConfig(Settings):
    """Options of the loop; of these only the seed and the precision change the result."""

    seed: Whole = 0
    save_every: Count = 100
    """Steps between saved states: the most that a killed run loses."""
    preview_every: Whole = 0
    """Steps between preview sheets; 0 for none."""
    precision: Precision = Precision.FP32


@dataclass(frozen=True)
class Batch:
    """The inputs of one forward and backward pass."""

    tensors: Mapping[str, Tensor]
    """CPU tensors; the loop moves them to the device."""
    files: tuple[str, ...]
    """The photographs in it, named when a loss is not finite."""


class Stage(ABC):
    """One stage of training: a module, its batches and its losses.

    The loop prepares `module` with accelerate, draws batches, sums `losses` into steps, and saves what is
    trained. A stage keeps no state of its own that changes from step to step: everything random comes from
    the `StepRandom` it is given (torch's global generator is seeded as well before each batch, for dropout).
    """

    name: ClassVar[str]
    """Names its folder in the run and keys its random numbers: "finetune", "mask_head"."""
    module: nn.Module
    """Holds every parameter that is trained (`requires_grad`); called by `losses` through the `model` it is
    given."""
    optimizer: OptimizerConfig
    steps: int

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Whatever decides the result besides the seed, as JSON values: configuration, fingerprints of
        data and base. A run that was started with another identity is not continued.
        """

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """The optimizer's groups: `params` and `lr`, perhaps `weight_decay`."""

    @abstractmethod
    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Move frozen models to the device and fill caches; called once, before the first step."""

    @abstractmethod
    def draw(self, random: StepRandom) -> Batch:
        """The batch for these random streams."""

    @abstractmethod
    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scalar losses of a batch on the device. "loss" is what is minimised; the others are shown and
        logged."""

    def follow(self, average: Mapping[str, Tensor]) -> None:
        """Be handed the weights' moving average, by the names of `module`'s parameters, where there is one.

        Its contents change from step to step; a stage whose losses read it keeps it.
        """
        del average

    def preview(self) -> NDArray[np.uint8] | None:
        """A sheet [H, W, 3] that shows how far training has come, from `self.module`; None for none.

        Called without gradients, in evaluation mode, with the averaged weights where there is an average.
        """
        return None
