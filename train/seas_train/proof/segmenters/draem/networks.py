"""The two networks of DRAEM: one that draws the picture again, one that tells where it is another."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

RECONSTRUCTION, DISCRIMINATION = 128, 64
"""Channels of the first scale of either, as published."""
_SCALES = (1, 2, 4, 8, 8)
"""Channels of the reconstruction's scales, in those of the first."""
_DOWN, _UP = (1, 2, 4, 8, 8, 8), (8, 4, 2, 1, 1)
"""The same of the discrimination's scales, on the way down and up."""


def _block(into: int, between: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((into, between), (between, out)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(True)]
    return nn.Sequential(*layers)


class Up(nn.Sequential):
    """Twice the size, and a convolution."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(into, out, 3, padding=1),
            nn.BatchNorm2d(out),
            nn.ReLU(True),
        )


class Reconstruction(nn.Module):
    """An encoder and a decoder without connections beside: what it has not learned to draw is lost.

    Pictures [B, 3, h, w] of 0 to 1 to pictures of the same shape; sides are multiples of 16.
    """

    def __init__(self, width: int = RECONSTRUCTION) -> None:
        super().__init__()
        widths = [width * scale for scale in _SCALES]
        down: list[nn.Module] = [_block(3, widths[0], widths[0])]
        for before, after in pairwise(widths):
            down += [nn.MaxPool2d(2), _block(before, after, after)]
        up: list[nn.Module] = []
        back = [*widths[:-1][::-1], widths[0]]
        there = widths[-1]
        for after, following in pairwise(back):
            up += [Up(there, after), _block(after, after, following)]
            there = following
        self.layers = nn.Sequential(*down, *up, nn.Conv2d(there, 3, 3, padding=1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pictures as they are without defects."""
        made: Tensor = self.layers(pictures)
        return made


class Discrimination(nn.Module):
    """A U-Net over the picture and its reconstruction [B, 6, h, w]; sides are multiples of 32."""

    def __init__(self, width: int = DISCRIMINATION) -> None:
        super().__init__()
        widths = [width * scale for scale in _DOWN]
        into = (6, *widths)
        self.down = nn.ModuleList(
            _block(into[place], widths[place], widths[place]) for place in range(len(widths))
        )
        self.up, self.beside = nn.ModuleList(), nn.ModuleList()
        there = widths[-1]
        for skip, scale in zip(widths[-2::-1], _UP, strict=True):
            after = width * scale
            self.up.append(Up(there, after))
            self.beside.append(_block(after + skip, after, after))
            there = after
        self.head = nn.Conv2d(there, 2, 3, padding=1)

    def forward(self, both: Tensor) -> Tensor:
        """Return logits [B, 2, h, w] of normal and of defect."""
        kept: list[Tensor] = []
        there = both
        for block in self.down:
            there = block(functional.max_pool2d(there, 2) if kept else there)
            kept.append(there)
        for up, block, skip in zip(self.up, self.beside, kept[-2::-1], strict=True):
            there = block(torch.cat([up(there), skip], 1))
        made: Tensor = self.head(there)
        return made
