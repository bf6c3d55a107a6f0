"""U-Net (Ronneberger et al. 2015) and UPerNet (Xiao et al. 2018) of segmentation-models-pytorch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from seas_train.proof.segmenters.contract import Segmenter
from seas_train.proof.segmenters.lite0 import MEAN, NAME, SPREAD, load_weights
from seas_train.proof.segmenters.vision_ops import import_models

LIGHT = {"encoder_depth": 4, "decoder_channels": (64, 48, 32, 16)}
"""Of the U-Net's decoder, which on a processor takes most of the time: the library's own five stages of 256
to 16 channels take 2.2 times as long for a step on 128 pixels."""


class LibrarySegmenter(Segmenter):
    """A network of the library with an EfficientNet-Lite0 encoder, pretrained on ImageNet or not."""

    def __init__(self, kind: str, pretrained: bool, **options: Any) -> None:
        super().__init__()
        models = import_models()
        self.network = getattr(models, kind)(NAME, encoder_weights=None, **options)
        if pretrained:
            load_weights(self.network.encoder)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits [B, h, w] of pictures [B, 3, h, w]."""
        made: Tensor = self.network((pictures - MEAN) / SPREAD)[:, 0]
        return made
