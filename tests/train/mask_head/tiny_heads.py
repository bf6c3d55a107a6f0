"""A mask head of a few thousand weights, and inputs for it."""

from __future__ import annotations

import torch

from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import MaskHead

TINY = MaskHeadArchitecture(
    tap_coarse_channels=12,
    tap_fine_channels=10,
    vae_tap_channels=(6, 6, 4),
    coarse_width=8,
    fine_width=4,
    heads=2,
    groups=3,
    depth=2,
)


def inputs(batch: int, latent: int = 4) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)

    def noise(channels: int, size: int) -> torch.Tensor:
        return torch.randn(batch, channels, size, size, generator=generator)

    taps = [noise(channels, latent * 2 ** (i + 1)) for i, channels in enumerate(TINY.vae_tap_channels)]
    return noise(12, latent // 2), noise(10, latent), taps


def tiny_head() -> MaskHead:
    torch.manual_seed(0)
    head = MaskHead(TINY)
    for name, buffer in head.named_buffers():
        buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.normal_()
    return head
