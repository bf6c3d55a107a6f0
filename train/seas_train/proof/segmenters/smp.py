"""U-Net (Ronneberger et al. 2015) and UPerNet (Xiao et al. 2018) of segmentation-models-pytorch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from seas_train.proof.segmenters.contract import Segmenter
from seas_train.proof.segmenters.lite0 import MEAN, NAME, SPREAD, load_weights
from seas_train.proof.segmenters.vision_ops import import_models

LIGHT = {"encoder_depth": 4, "decoder_channels": (48, 32, 24, 12)}
"""Of the U-Net's decoder, which on a processor takes most of the time: with the library's own five stages of
256 to 16 channels a step on 8 crops of 128 pixels took 1.64 s of one thread, with these 0.75 s."""


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
