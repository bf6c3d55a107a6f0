"""What a segmenter is: a network that gives each pixel the logit of being defect, and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional


class Segmenter(nn.Module, ABC):
    """A network from pictures to logits. Pictures' sides are multiples of `multiple`."""

    multiple = 32

    @abstractmethod
    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits [B, h, w] of pictures [B, 3, h, w] of 0 to 1; sigmoid makes probabilities."""

    def loss(self, pictures: Tensor, masks: Tensor, defective: Tensor, random: torch.Generator) -> Tensor:
        """Return the loss of a batch: cross-entropy and Dice, both on every pixel.

        pictures: [B, 3, h, w]; masks: [B, h, w], 1 on the defect; defective: [B], False for pictures of
        normals; random: what the loss draws with.
        """
        return pixel_loss(self.logits(pictures), masks)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return `logits`."""
        return self.logits(pictures)


def pixel_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return cross-entropy plus 1 - Dice over the whole batch; logits and masks [B, h, w]."""
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    found = logits.sigmoid()
    overlap, both = (found * masks).sum(), found.sum() + masks.sum()
    return entropy + 1 - (2 * overlap + 1) / (both + 1)
