"""The losses of DRAEM: structural similarity and squared error of the drawing, focal loss of the map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, SIGMA = 11, 1.5
"""Pixels of the Gaussian window that SSIM is measured in, and its standard deviation (Wang et al. 2004)."""
STABLE = (0.01**2, 0.03**2)
"""Keep SSIM's divisions steady; of pictures of 0 to 1."""
GAMMA = 2.0
"""Of the focal loss, DRAEM's."""


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return SSIM [B, h, w], mean over channels, of pictures [B, C, h, w] of 0 to 1."""
    mean_a, mean_b = _blurred(first), _blurred(second)
    spread_a = _blurred(first**2) - mean_a**2
    spread_b = _blurred(second**2) - mean_b**2
    together = _blurred(first * second) - mean_a * mean_b
    light = (2 * mean_a * mean_b + STABLE[0]) / (mean_a**2 + mean_b**2 + STABLE[0])
    structure = (2 * together + STABLE[1]) / (spread_a + spread_b + STABLE[1])
    return (light * structure).mean(1)


def reconstruction_loss(drawn: Tensor, clean: Tensor, known: Tensor) -> Tensor:
    """Return squared error plus 1 - SSIM, mean over the pixels [B, h, w] where the clean picture is known."""
    share = known / known.sum().clamp(min=1)
    squared = ((drawn - clean) ** 2).mean(1)
    return ((squared + 1 - structural_similarity(drawn, clean)) * share).sum()


def focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the focal loss (Lin et al. 2017) of each pixel [B, h, w]; logits [B, h, w] of defect."""
    entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    right = (-entropy).exp()
    return (1 - right) ** GAMMA * entropy


def _blurred(pictures: Tensor) -> Tensor:
    """Blur [B, C, h, w] by a Gaussian; edges are repeated."""
    places = torch.arange(WINDOW, device=pictures.device, dtype=pictures.dtype) - WINDOW // 2
    line = (-(places**2) / (2 * SIGMA**2)).exp()
    line = line / line.sum()
    channels, half = pictures.shape[1], WINDOW // 2
    wide = functional.pad(pictures, (half,) * 4, mode="replicate")
    across = line.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    down = line.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    return functional.conv2d(functional.conv2d(wide, across, groups=channels), down, groups=channels)
