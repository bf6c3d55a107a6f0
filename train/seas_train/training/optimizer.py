"""AdamW and its learning rate, the same for both stages."""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import torch

from seas_train.settings import Bound, Count, Positive, Settings, Share, Weight, Whole

logger = logging.getLogger(__name__)
_BELOW_ONE = Bound("0 or more and below 1", lambda value: 0 <= value < 1)
_BETAS = Bound("two numbers in 0..1 (1 excluded)", lambda betas: all(0 <= beta < 1 for beta in betas))


class Schedule(str, Enum):
    """The learning rate's course over a stage, after the warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    LINEAR = "linear"
    POLYNOMIAL = "polynomial"
    """A parabola that ends flat: the square of the linear one."""
    COSINE_RESTARTS = "cosine_with_restarts"
    """The cosine, `restarts` times over."""


@dataclass(frozen=True)
class OptimizerConfig(Settings):
    """AdamW's settings; the defaults are the authors' (configs/seas.yaml of SeaS)."""

    betas: Annotated[tuple[float, float], _BETAS] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: Weight = 0.01
    gradient_accumulation: Count = 1
    """Batches that one step sums up."""
    gradient_clip: Weight = 0.0
    """Largest norm of a step's gradient; 0 leaves it as it is."""
    schedule: Schedule = Schedule.CONSTANT
    warmup_steps: Whole = 0
    final_learning_rate: Share = 0.0
    """Where the course ends, as a share of where it starts."""
    restarts: Count = 1
    """How often `cosine_with_restarts` runs down."""
    ema: Annotated[float, _BELOW_ONE] = 0.0
    """Decay of the moving average of the weights that a stage ends with; 0 takes the last step's weights."""
    eight_bit: bool = False
    """bitsandbytes' 8-bit AdamW where it is installed and there is a CUDA device; otherwise the plain one."""


def learning_rate_share(config: OptimizerConfig, step: int, steps: int) -> float:
    """The share of the learning rate, 0..1, that step `step` (1..steps) uses."""
    if step <= config.warmup_steps:
        return step / (config.warmup_steps + 1)
    if config.schedule is Schedule.CONSTANT:
        return 1.0
    progress = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
    low = config.final_learning_rate
    if config.schedule is Schedule.LINEAR:
        return low + (1 - low) * (1 - progress)
    if config.schedule is Schedule.POLYNOMIAL:
        return low + (1 - low) * (1 - progress) ** 2
    if config.schedule is Schedule.COSINE_RESTARTS and progress < 1:
        progress = (progress * config.restarts) % 1.0
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress))


def uses_eight_bit(config: OptimizerConfig) -> bool:
    """Whether the 8-bit AdamW was asked for and can run here."""
    return (
        config.eight_bit
        and torch.cuda.is_available()
        and importlib.util.find_spec("bitsandbytes") is not None
    )


def make_optimizer(config: OptimizerConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW over parameter groups, each with its own `lr`."""
    for group in groups:
        group["base_lr"] = group["lr"]
    options: dict[str, Any] = {
        "betas": config.betas,
        "eps": config.epsilon,
        "weight_decay": config.weight_decay,
    }
    if uses_eight_bit(config):
        import bitsandbytes

        eight_bit: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(groups, **options)
        return eight_bit
    if config.eight_bit:
        logger.info(
            "optimizer: 8-bit AdamW needs bitsandbytes and a CUDA device; this run takes the plain one"
        )
    # One pass over the weights: on a CPU the plain one takes a sixth of a step of a base as small as `micro`.
    return torch.optim.AdamW(groups, **options, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group its own learning rate times `share`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * share
