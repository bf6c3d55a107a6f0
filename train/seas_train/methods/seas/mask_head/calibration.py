"""Calibrates the mask head: moves its probabilities so that generation's threshold gives the best masks.

A focal loss draws probabilities towards a half: at gamma 2 a pixel whose true probability is 0.024 is
predicted as 0.2. The authors' threshold of 0.2 suits a head that was trained long; after a short training it
marks too many pixels. One number corrects it: the offset between the two classes' logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seas_train.methods.seas.mask_head.network.head import MaskHead

CANDIDATES = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Thresholds to choose from: 0.05, 0.10 .. 0.95."""


def pooled_ious(probability: Tensor, mask: Tensor, kinds: Tensor, threshold: float) -> list[float]:
    """Return the IoU of each defect over the pixels of all its pairs.

    False alarms on normals count in every defect's union, as if each of its pairs came with a normal.

    Args:
        probability: [B,H,W] in 0..1.
        mask: [B,H,W] bool, empty for normals.
        kinds: [B] int64, 0 for normals, 1 + i for defect i.
        threshold: in 0..1.
    """
    predicted = probability >= threshold
    hits = (predicted & mask).sum(dim=(1, 2)).double()
    either = (predicted | mask).sum(dim=(1, 2)).double()
    normals = kinds == 0
    false_alarms = float(either[normals].mean()) if bool(normals.any()) else 0.0
    ious = []
    for kind in sorted(set(kinds[~normals].tolist())):
        of_kind = kinds == kind
        union = float(either[of_kind].sum()) + false_alarms * int(of_kind.sum())
        ious.append(float(hits[of_kind].sum()) / max(1.0, union))
    return ious


def best_threshold(probability: Tensor, mask: Tensor, kinds: Tensor) -> float:
    """Return the candidate with the best IoU, averaged over the defects; see `pooled_ious`."""

    def score(threshold: float) -> float:
        ious = pooled_ious(probability, mask, kinds, threshold)
        return sum(ious) / len(ious)

    return max(CANDIDATES, key=score)


def move_threshold(head: MaskHead, found: float, tau: float) -> None:
    """Shift the output's bias so that a pixel of probability `found` gets the probability `tau`."""
    bias = head.out_layer[2].bias
    assert isinstance(bias, Tensor)
    with torch.no_grad():
        bias[1] += math.log(tau / (1 - tau)) - math.log(found / (1 - found))
