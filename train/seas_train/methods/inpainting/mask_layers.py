"""What small mask encoders begin with."""

from __future__ import annotations

from torch import nn


def mask_layers(channels: int) -> nn.Sequential:
    """Return four strided convolutions: masks [B, 1, 64, 64] to [B, channels, 4, 4]."""
    return nn.Sequential(
        *(
            layer
            for given in (1, channels, channels, channels)
            for layer in (nn.Conv2d(given, channels, 3, stride=2, padding=1), nn.SiLU())
        )
    )
