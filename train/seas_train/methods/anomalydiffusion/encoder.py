"""The spatial encoder: from a mask to tokens at the text encoder's input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.methods.anomalydiffusion.config import Encoder
from seas_train.methods.inpainting.mask_layers import mask_layers

_SCALE = 0.02
"""Of the first tokens: about what embeddings of words have."""


def make_encoder(kind: Encoder, tokens: int, width: int, size: int) -> nn.Module:
    """Return an encoder of masks [B, 1, S, S], 0 or 1, to tokens [B, n, W].

    Args:
        kind: of the network.
        tokens: n.
        width: W, of the text encoder's embeddings.
        size: S, in pixels.
    """
    return SmallEncoder(tokens, width) if kind is Encoder.SMALL else PyramidEncoder(tokens, width, size)


class SmallEncoder(nn.Module):
    """Four strided convolutions, and a linear layer a token over their 4 x 4 cells."""

    def __init__(self, tokens: int, width: int, channels: int = 48) -> None:
        super().__init__()
        self.layers = mask_layers(channels)
        heads = [nn.Linear(16 * channels, width) for _ in range(tokens)]
        for head in heads:
            nn.init.normal_(head.weight, std=_SCALE / 4)
        self.heads = nn.ModuleList(heads)

    def forward(self, masks: Tensor) -> Tensor:
        """Return tokens [B, n, W]."""
        small = functional.interpolate(masks, size=(64, 64), mode="bilinear", align_corners=False)
        cells = self.layers(small).flatten(1)  # [B, 16 C]
        return torch.stack([head(cells) for head in self.heads], dim=1)


class PyramidEncoder(nn.Module):
    """ResNet-50 with a feature pyramid whose levels are summed, and a small network a token.

    Norms are of groups, not of batches: a mask's tokens do not depend on what else is in its batch.
    """

    def __init__(self, tokens: int, width: int, size: int, channels: int = 256) -> None:
        super().__init__()
        self.size = min(size, 256)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False),
            nn.GroupNorm(32, 64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        stages, given = [], 64
        for level, (depth, inner) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
            blocks = [_Bottleneck(given, inner, 1 if level == 0 else 2)]
            given = inner * _Bottleneck.EXPANSION
            blocks += [_Bottleneck(given, inner, 1) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(256 * 2**level, channels, 1) for level in range(4))
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4))
        self.heads = nn.ModuleList(_TokenHead(channels, width) for _ in range(tokens))

    def forward(self, masks: Tensor) -> Tensor:
        """Return tokens [B, n, W]."""
        size = (self.size, self.size)
        features = self.stem(functional.interpolate(masks, size=size, mode="bilinear", align_corners=False))
        levels = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            features = stage(features)
            levels.append(lateral(features))
        for level in (2, 1, 0):
            above = functional.interpolate(levels[level + 1], scale_factor=2.0, mode="nearest")
            levels[level] = levels[level] + above
        shape = levels[-1].shape[-2:]
        pooled = [
            functional.adaptive_avg_pool2d(smooth(level), shape)
            for smooth, level in zip(self.smooth, levels, strict=True)
        ]
        fused = torch.stack(pooled).sum(dim=0)
        return torch.stack([head(fused) for head in self.heads], dim=1)


class _Bottleneck(nn.Module):
    """A residual block of ResNet-50 (He et al. 2016), with group norms."""

    EXPANSION = 4

    def __init__(self, given: int, inner: int, stride: int) -> None:
        super().__init__()
        out = inner * self.EXPANSION
        self.layers = nn.Sequential(
            nn.Conv2d(given, inner, 1, bias=False),
            nn.GroupNorm(32, inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(32, inner),
            nn.ReLU(),
            nn.Conv2d(inner, out, 1, bias=False),
            nn.GroupNorm(32, out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or given != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(given, out, 1, stride=stride, bias=False), nn.GroupNorm(32, out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


class _TokenHead(nn.Module):
    """Two strided convolutions and a linear layer over 4 x 4 cells: a token."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.out = nn.Linear(64 * 16, width)
        nn.init.normal_(self.out.weight, std=_SCALE / 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.out(self.layers(x))
        return result
