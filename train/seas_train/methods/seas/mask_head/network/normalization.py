"""Batch norm whose statistics are stored under the authors' names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

# Share of a new batch in the stored statistics during training (PyTorch's default).
MOMENTUM = 0.1


class StoredBatchNorm(nn.Module):
    """Batch norm over [B,C,H,W] with gain, bias, stored_mean and stored_var of [C].

    In training mode it normalises by the batch's statistics and moves the stored ones towards them; in eval
    mode it normalises by the stored ones, so that a sample's output does not depend on its neighbours. The
    same arithmetic as `torch.nn.BatchNorm2d`: the stored variance is the unbiased one. `momentum` is the
    share of a new batch in the stored statistics, in [0, 1]; 0 leaves them as they are.
    """

    gain: Tensor
    bias: Tensor
    stored_mean: Tensor
    stored_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("stored_mean", torch.zeros(channels))
        self.register_buffer("stored_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` [B,C,H,W], float."""
        return functional.batch_norm(
            x, self.stored_mean, self.stored_var, self.gain, self.bias, self.training, self.momentum, self.eps
        )


def batch_norms(module: nn.Module) -> list[StoredBatchNorm]:
    """Every batch norm of `module`, in the order of its construction."""
    return [part for part in module.modules() if isinstance(part, StoredBatchNorm)]


@contextmanager
def momentum_of(module: nn.Module, momentum: float) -> Iterator[None]:
    """Within the block, `module`'s batch norms take this share of a new batch; 0 keeps what is stored."""
    norms = batch_norms(module)
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = momentum
    try:
        yield
    finally:
        for norm, value in zip(norms, before, strict=True):
            norm.momentum = value
