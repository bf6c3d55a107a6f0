"""A U-Net of forty thousand weights that needs no extra: for tests, and for a first look in a minute."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.proof.segmenters.contract import Segmenter

_WIDTHS = (12, 24, 32)


class SmallUNet(Segmenter):
    """Three scales, two convolutions at each on the way down and one on the way up."""

    multiple = 4

    def __init__(self) -> None:
        super().__init__()
        into = (3, *_WIDTHS)
        self.down = nn.ModuleList(
            nn.Sequential(_block(into[i], _WIDTHS[i]), _block(_WIDTHS[i], _WIDTHS[i]))
            for i in range(len(_WIDTHS))
        )
        self.up = nn.ModuleList(
            _block(_WIDTHS[i] + _WIDTHS[i - 1], _WIDTHS[i - 1]) for i in range(len(_WIDTHS) - 1, 0, -1)
        )
        self.head = nn.Conv2d(_WIDTHS[0], 1, 1)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return the logits [B, h, w] of pictures [B, 3, h, w]."""
        there, kept = pictures - 0.5, []
        for scale, block in enumerate(self.down):
            there = block(there if scale == 0 else functional.max_pool2d(there, 2))
            kept.append(there)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            larger = functional.interpolate(there, scale_factor=2.0, mode="nearest")
            there = block(torch.cat([larger, skip], 1))
        made: Tensor = self.head(there)[:, 0]
        return made


def _block(into: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True))
