"""A loss for training on weakly labelled pairs: a box says where a defect is, not in what shape."""

from __future__ import annotations

import torch
from torch import Tensor

TAU = 0.9
"""A pixel in a box counts nothing where it is normal with this probability or more (the paper's)."""


def weak_supervision_loss(loss: Tensor, anomaly: Tensor, boxes: Tensor, tau: float = TAU) -> Tensor:
    """Return the mean over pixels of box (1 - delta) loss + (1 - box) loss.

    delta is 1 where p = 1 - anomaly, the probability of normal, is at least tau. No gradient goes through
    that choice.

    Args:
        loss: a segmentation loss of each pixel, [B, ...].
        anomaly: the model's probability of a defect there, 0 to 1, the same shape.
        boxes: 1 inside of boxes, 0 outside, the same shape.
        tau: 0 to 1.

    Raises:
        ValueError: shapes differ.
    """
    if not loss.shape == anomaly.shape == boxes.shape:
        raise ValueError(
            f"expected one shape, found {list(loss.shape)}, {list(anomaly.shape)} and {list(boxes.shape)}"
        )
    return (weak_weights(anomaly, boxes.to(loss.dtype), tau) * loss).mean()


@torch.no_grad()
def weak_weights(anomaly: Tensor, boxes: Tensor, tau: float = TAU) -> Tensor:
    """Return what each pixel counts: 0 in a box where it is surely normal, 1 elsewhere.

    Arguments are those of `weak_supervision_loss`.
    """
    sure = ((1 - anomaly) >= tau).to(boxes.dtype)
    return boxes * (1 - sure) + (1 - boxes)
