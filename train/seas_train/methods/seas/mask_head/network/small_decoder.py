"""A small stand-in for the VAE decoder's first three up-blocks, of which the mask head reads features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8
"""Of the group norms; divides all channels."""


class _Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))); channels and size are kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x + self.layers(x)
        return made


class SmallDecoder(nn.Module):
    """Gives features of latents at 2, 4 and 8 times their size.

    Args:
        latent_channels: of the latents.
        channels: of the features, multiples of 8.
    """

    def __init__(self, latent_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        width = 2 * channels[0]
        self.conv_in = nn.Conv2d(latent_channels, width, 3, padding=1)
        self.middle = nn.Sequential(_Block(width), _Block(width))
        before = (width, *channels[:-1])
        self.narrow = nn.ModuleList(
            nn.Conv2d(wide, narrow, 3, padding=1) for wide, narrow in zip(before, channels, strict=True)
        )
        self.blocks = nn.ModuleList(_Block(count) for count in channels)

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Return [B, V, 2h, 2w], [B, V, 4h, 4w] and [B, V, 8h, 8w] of unscaled latents [B, C, h, w]."""
        hidden = self.middle(self.conv_in(latents))
        made = []
        for narrow, block in zip(self.narrow, self.blocks, strict=True):
            hidden = block(functional.interpolate(narrow(hidden), scale_factor=2.0, mode="nearest"))
            made.append(hidden)
        return made
