from __future__ import annotations

import torch
from torch import nn

from seas_train.methods.seas.mask_head.network.normalization import StoredBatchNorm, batch_norms, momentum_of


def pair_of_norms() -> tuple[StoredBatchNorm, nn.BatchNorm2d]:
    ours, theirs = StoredBatchNorm(5), nn.BatchNorm2d(5)
    gain, bias = torch.rand(5) + 0.5, torch.randn(5)
    with torch.no_grad():
        ours.gain.copy_(gain)
        ours.bias.copy_(bias)
        theirs.weight.copy_(gain)
        theirs.bias.copy_(bias)
    return ours, theirs


def test_equals_torchs_batch_norm_in_both_modes() -> None:
    ours, theirs = pair_of_norms()
    for step in range(4):
        x = torch.randn(3, 5, 4, 6) * (step + 1) + step
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.stored_mean, theirs.running_mean)
    torch.testing.assert_close(ours.stored_var, theirs.running_var)
    assert ours.stored_mean.abs().max() > 0.1, "training must move the stored statistics"
    ours.eval()
    theirs.eval()
    before = ours.stored_mean.clone()
    x = torch.randn(1, 5, 4, 6) + 7
    torch.testing.assert_close(ours(x), theirs(x))
    assert torch.equal(ours.stored_mean, before), "inference must not move them"


def test_momentum_zero_keeps_the_stored_statistics_and_the_output() -> None:
    ours, theirs = pair_of_norms()
    x = torch.randn(2, 5, 3, 3) + 2
    with momentum_of(ours, 0.0):
        output = ours(x)
    torch.testing.assert_close(output, theirs(x))
    assert torch.equal(ours.stored_mean, torch.zeros(5))
    assert torch.equal(ours.stored_var, torch.ones(5))
    assert [norm.momentum for norm in batch_norms(ours)] == [0.1], "the block must restore the momentum"
