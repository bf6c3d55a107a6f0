from __future__ import annotations

import itertools
import math

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train.training.optimizer import (
    OptimizerConfig,
    Schedule,
    learning_rate_share,
    make_optimizer,
    set_learning_rate,
)
from seas_train.training.random import step_random


def test_constant_after_the_warm_up() -> None:
    config = OptimizerConfig(warmup_steps=3)
    shares = [learning_rate_share(config, step, 10) for step in range(1, 11)]
    assert shares == [0.25, 0.5, 0.75] + [1.0] * 7


def test_cosine_ends_where_it_should() -> None:
    config = OptimizerConfig(schedule=Schedule.COSINE, warmup_steps=2, final_learning_rate=0.1)
    shares = [learning_rate_share(config, step, 12) for step in range(1, 13)]
    assert shares[6] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert shares[-1] == pytest.approx(0.1)
    assert all(later < earlier for earlier, later in itertools.pairwise(shares[2:]))


def test_groups_keep_their_own_learning_rate() -> None:
    one, other = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(
        OptimizerConfig(), [{"params": [one], "lr": 2.0}, {"params": [other], "lr": 4.0}]
    )
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 2.0]
    set_learning_rate(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [2.0, 4.0]


def test_eight_bit_falls_back_where_it_cannot_run() -> None:
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(OptimizerConfig(eight_bit=True), [{"params": [parameter], "lr": 1.0}])
    if not torch.cuda.is_available():
        assert type(optimizer) is torch.optim.AdamW


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"gradient_accumulation": 0}, "gradient_accumulation"),
        ({"gradient_clip": -1.0}, "gradient_clip"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"final_learning_rate": 2.0}, "final_learning_rate"),
        ({"ema": 1.0}, "ema"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=f"{named}: expected"):
        OptimizerConfig(**values)  # type: ignore[arg-type]


def test_random_streams_differ_in_everything_that_names_them() -> None:
    names = [
        (0, "a", 1, 0, 0),
        (1, "a", 1, 0, 0),
        (0, "b", 1, 0, 0),
        (0, "a", 2, 0, 0),
        (0, "a", 1, 1, 0),
        (0, "a", 1, 0, 1),
    ]
    numbers = {float(step_random(*name).numpy.random()) for name in names}
    noise = {float(torch.randn((), generator=step_random(*name).torch)) for name in names}
    assert len(numbers) == len(noise) == len(names)
    again = step_random(*names[0])
    assert float(again.numpy.random()) in numbers
    assert float(torch.randn((), generator=again.torch)) in noise
