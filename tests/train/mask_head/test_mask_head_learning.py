from __future__ import annotations

import torch

from seas_train.methods.seas.mask_head.losses import mask_loss
from seas_train.methods.seas.mask_head.network.both_paths import BothPaths
from seas_train.methods.seas.mask_head.network.head import MaskHead
from tests.train.mask_head.tiny_heads import TINY

Inputs = tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], torch.Tensor]


def discs(batch: int, generator: torch.Generator) -> Inputs:
    """Features in which discs show, roughly in the U-Net's and sharply in the VAE's, and their masks."""
    size = 64
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = torch.rand(batch, 2, generator=generator) * 40 + 12
    radius = torch.rand(batch, generator=generator) * 6 + 6
    squares = (rows - centre[:, :1, None]) ** 2 + (columns - centre[:, 1:, None]) ** 2
    mask = squares < radius[:, None, None] ** 2

    def features(channels: int, side: int) -> torch.Tensor:
        shown = torch.nn.functional.adaptive_avg_pool2d(mask[:, None].float(), side)
        signs = torch.linspace(-1, 1, channels)[:, None, None]
        return shown * signs + 0.3 * torch.randn(batch, channels, side, side, generator=generator)

    taps = [features(channels, 16 * 2**i) for i, channels in enumerate(TINY.vae_tap_channels)]
    return features(12, 4), features(10, 8), taps, mask


def test_learns_discs_and_keeps_them_at_inference() -> None:
    """The stored statistics must carry over what was learnt on batch statistics."""
    torch.manual_seed(0)
    head = MaskHead(TINY)
    model = BothPaths(head).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(80):
        coarse, fine, taps, mask = discs(4, generator)
        nothing_coarse, nothing_fine = torch.randn(2, 12, 4, 4) * 0.3, torch.randn(2, 10, 8, 8) * 0.3
        refined, both = model(torch.cat([coarse, nothing_coarse]), torch.cat([fine, nothing_fine]), taps)
        mask_loss(refined, both, mask).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    coarse, fine, taps, mask = discs(16, generator)
    predicted = head.predict(coarse, fine, taps) >= 0.5
    iou = (predicted & mask).sum() / (predicted | mask).sum()
    assert iou > 0.8, float(iou)
