"""A sheet that shows photographs, their masks, and what the head makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seas_train.methods.seas.mask_head.evaluation import mask_probability
from seas_train.methods.seas.mask_head.latents import Models, Reading
from seas_train.methods.seas.mask_head.network.head import MaskHead


def preview_sheet(
    images: Sequence[NDArray[np.uint8]],
    masks: Tensor,
    latents: Tensor,
    models: Models,
    head: MaskHead,
    contexts: Tensor,
    reading: Reading,
) -> NDArray[np.uint8]:
    """Return a sheet [n*H, 3*W, 3]: in each row a photograph, its mask, and the predicted probability.

    Args:
        images: n photographs [H,W,3].
        masks: [n,H,W] bool.
        latents: [n,C,h,w], scaled.
        models: what the features come from.
        head: the head.
        contexts: [n,L,D], on the models' device.
        reading: where generation reads masks.
    """
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    device = contexts.device
    probability = mask_probability(
        models, head, latents.to(device), noise.to(device), contexts, reading
    ).cpu()
    rows = []
    for image, mask, predicted in zip(images, masks, probability, strict=True):
        grey = torch.cat([mask.float(), predicted], dim=1).mul(255).round().to(torch.uint8)
        rows.append(np.concatenate([image, np.repeat(grey.numpy()[..., None], 3, axis=2)], axis=1))
    return np.concatenate(rows, axis=0)
