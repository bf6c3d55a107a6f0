"""The noise loss's weights of latent pixels: where defects lie they weigh more."""

from __future__ import annotations

import torch
from torch import Tensor

from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.finetune.config import WeightedRegion
from seas_train.methods.seas.finetune.losses import own_mask_weights, region_weights


class PixelWeights:
    """Weights of a product's images, by prompt and by mask."""

    def __init__(
        self, examples: Examples, defects: int, size: int, weight: float, region: WeightedRegion
    ) -> None:
        """Work out what is the same for all images of a defect.

        Args:
            examples: the product's.
            defects: how many the product has.
            size: s, of the latents.
            weight: in the region; 1 outside.
            region: where it is.
        """
        self._size, self._weight = size, weight
        self._own_masks = region is WeightedRegion.OWN_MASK
        rows = [torch.ones(1, size, size)] * (1 + defects)
        if not self._own_masks:
            for index in range(defects):
                masks = [example.mask for example in examples.defects if example.defect == index]
                union = torch.stack(masks).any(0)  # [1, H, W]
                augmented = torch.stack([choice.apply(union) for choice in examples.augmentations])
                rows[1 + index] = region_weights(augmented, size, weight)
        self._of_prompts = torch.stack(rows)  # [1 + defects, 1, s, s]

    def of(self, prompts: Tensor, masks: Tensor) -> Tensor:
        """Weights [B, 1, s, s] f32 of a batch.

        Args:
            prompts: [B] int64, 0 for normals and 1 + i for defect i; the defect images come first.
            masks: [D, 1, H, W] bool, the defect images'.
        """
        weights = self._of_prompts[prompts]
        if self._own_masks:
            weights[: len(masks)] = own_mask_weights(masks, self._size, self._weight)
        return weights
