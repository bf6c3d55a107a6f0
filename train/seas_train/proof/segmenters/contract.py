"""What a segmenter is: a network that gives each pixel the logit of being defect, and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.methods.anogen.weak import weak_weights
from seas_train.proof.crops import Batch


class Segmenter(nn.Module, ABC):
    """A network from pictures to logits. Pictures' sides are multiples of `multiple`."""

    multiple = 32
    draws_anomalies = False
    """Whether it is also trained on anomalies that are drawn into normals for it."""

    @abstractmethod
    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits [B, h, w] of pictures [B, 3, h, w] of 0 to 1; sigmoid makes probabilities."""

    def loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        """Return the loss of a batch: cross-entropy and Dice, both on every pixel that counts.

        random: what the loss draws with.
        """
        return pixel_loss(self.logits(batch.pictures), batch.masks, batch.boxes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return `logits`."""
        return self.logits(pictures)


def pixel_loss(logits: Tensor, masks: Tensor, boxes: Tensor | None = None) -> Tensor:
    """Return cross-entropy plus 1 - Dice over the whole batch; logits, masks and boxes [B, h, w].

    boxes: 1 inside of weak labels. Pixels there that are surely normal count nothing, in either loss.
    """
    found = logits.sigmoid()
    if boxes is None:
        entropy = functional.binary_cross_entropy_with_logits(logits, masks)
        overlap, both = (found * masks).sum(), found.sum() + masks.sum()
    else:
        counted = weak_weights(found, boxes)
        entropy = functional.binary_cross_entropy_with_logits(logits, masks, counted)
        overlap, both = (counted * found * masks).sum(), (counted * (found + masks)).sum()
    return entropy + 1 - (2 * overlap + 1) / (both + 1)
