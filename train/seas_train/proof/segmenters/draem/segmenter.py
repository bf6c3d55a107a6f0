"""DRAEM as a segmenter: it draws anomalies into normals itself, beside the pairs that it is given."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from seas_train.methods.anogen.weak import weak_supervision_loss
from seas_train.proof.crops import Batch
from seas_train.proof.segmenters.contract import Segmenter
from seas_train.proof.segmenters.draem.losses import WINDOW, focal_loss, reconstruction_loss
from seas_train.proof.segmenters.draem.networks import (
    DISCRIMINATION,
    RECONSTRUCTION,
    Discrimination,
    Reconstruction,
)

NARROW = 8
"""By how much `draem-narrow` is narrower than what was published, which takes a processor minutes a step."""


class Draem(Segmenter):
    """Both networks; a pixel's logit is that of defect less that of normal."""

    draws_anomalies = True

    def __init__(self, narrower: int = 1) -> None:
        super().__init__()
        self.reconstruction = Reconstruction(RECONSTRUCTION // narrower)
        self.discrimination = Discrimination(DISCRIMINATION // narrower)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits [B, h, w] of pictures [B, 3, h, w]."""
        return self._found(pictures, self.reconstruction(pictures))

    def loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        """Return the drawing's loss plus the map's.

        What a picture looks like without a defect is known where DRAEM drew the anomaly itself. Of a pair it
        is not: its drawing counts beyond the mask, and beyond the window of SSIM around it.
        """
        drawn = self.reconstruction(batch.pictures)
        around = functional.max_pool2d(batch.hidden[:, None], WINDOW, 1, WINDOW // 2)[:, 0]
        clean = reconstruction_loss(drawn, batch.clean, 1 - around)
        found = self._found(batch.pictures, drawn)
        pixels = focal_loss(found, batch.masks)
        if batch.boxes is None:
            return clean + pixels.mean()
        return clean + weak_supervision_loss(pixels, found.sigmoid(), batch.boxes)

    def _found(self, pictures: Tensor, drawn: Tensor) -> Tensor:
        both: Tensor = self.discrimination(torch.cat([drawn, pictures], 1))
        return both[:, 1] - both[:, 0]
