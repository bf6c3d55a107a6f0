"""The noise loss inside of masks."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def latent_masks(masks: Tensor, size: int) -> Tensor:
    """Return masks [B, 1, H, W] at the latents' resolution, f32 [B, 1, size, size]: 1 in cells they touch."""
    return functional.adaptive_max_pool2d(masks.float(), size)


def masked_noise_loss(prediction: Tensor, noise: Tensor, masks: Tensor) -> Tensor:
    """Return the mean over all elements of ((noise - prediction) * mask)^2.

    Args:
        prediction: [B, C, h, w].
        noise: the same shape.
        masks: [B, 1, h, w], 0 to 1.
    """
    return ((noise.float() - prediction.float()) * masks).square().mean()
