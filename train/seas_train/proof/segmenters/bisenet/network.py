"""BiSeNet V2 as a segmenter, from scratch: there are no weights of it to begin with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.proof.crops import Batch
from seas_train.proof.segmenters.bisenet.branches import (
    DETAIL,
    SEMANTIC,
    Aggregation,
    DetailBranch,
    SemanticBranch,
    activated,
)
from seas_train.proof.segmenters.contract import Segmenter, pixel_loss

HEAD, BOOSTER = 1024, 128
"""Channels between features and logits: the paper's for its smaller network, and the boosters'."""


class BiSeNetV2(Segmenter):
    """Both branches, their aggregation and a head; in training four boosters on the semantic branch."""

    def __init__(self) -> None:
        super().__init__()
        self.detail, self.semantic, self.aggregation = DetailBranch(), SemanticBranch(), Aggregation()
        self.head = _head(DETAIL[-1], HEAD)
        self.boosters = nn.ModuleList(_head(width, BOOSTER) for width in SEMANTIC)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits [B, h, w] of pictures [B, 3, h, w]."""
        return self._all(pictures, boosted=False)[0]

    def loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        """Return the pixel loss of the head plus that of each booster."""
        every = self._all(batch.pictures, boosted=True)
        return torch.stack([pixel_loss(one, batch.masks, batch.boxes) for one in every]).sum()

    def _all(self, pictures: Tensor, *, boosted: bool) -> list[Tensor]:
        """Return the logits [B, h, w] of the head, then of the boosters."""
        shown = 2 * pictures - 1
        semantic, stages = self.semantic(shown)
        made = [self.head(self.aggregation(self.detail(shown), semantic))]
        if boosted:
            made += [booster(stage) for booster, stage in zip(self.boosters, stages, strict=True)]
        size = pictures.shape[-2:]
        return [
            functional.interpolate(one, size=size, mode="bilinear", align_corners=False)[:, 0] for one in made
        ]


def _head(into: int, wide: int) -> nn.Sequential:
    return nn.Sequential(activated(into, wide), nn.Dropout(0.1), nn.Conv2d(wide, 1, 1))
