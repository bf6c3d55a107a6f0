"""Stage 1's losses (paper equations 2 to 4), all of weight 1 in the authors' code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.finetune.config import WeightedRegion

_WHOLE = 1 - 1e-6
"""More than this is 1: the weights of a resize may round."""


def noise_loss(prediction: Tensor, noise: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error of the predicted noise [B, C, h, w]; on the normal images it is the NA loss.

    weights: [B, 1, h, w] or [B, 1, 1, 1], of images and pixels; all 1 by default.
    """
    if weights is None:
        return functional.mse_loss(prediction.float(), noise.float())
    return ((prediction.float() - noise.float()).square() * weights).mean()


def offset_noise(shape: Sequence[int], strength: float, generator: torch.Generator) -> Tensor:
    """Noise [B, C, h, w] with `strength` times a normal number of each image and channel added to it.

    A U-Net so trained can make pictures darker or lighter as a whole than the noise that it starts from
    (Guttenberg 2023, "Diffusion with offset noise").
    """
    noise = torch.randn(shape, generator=generator)
    if strength == 0:
        return noise
    return noise + strength * torch.randn((*shape[:2], 1, 1), generator=generator)


def high_noise_weights(alphas_cumprod: Tensor, timesteps: Tensor, limit: float) -> Tensor:
    """Weights [B, 1, 1, 1] f32 of images noised at `timesteps` [B]: 1 / SNR, between 1 and `limit`."""
    alpha = alphas_cumprod[timesteps].float()[:, None, None, None]
    return ((1 - alpha) / alpha).clamp(1, limit)


def region_weights(masks: Tensor, size: int, weight: float) -> Tensor:
    """Weights [1, size, size] f32 of pixels: `weight` wherever one of the masks [n, 1, H, W] is, 1 elsewhere.

    The same for every image of a defect. Weights that follow the image's own mask would teach the U-Net that
    defects are larger than they are: for a noisy image that may have a defect at a pixel or not, the best
    prediction would lean towards the defect.
    """
    return 1 + (weight - 1) * pool_mask(masks, size).amax(0, keepdim=True)


def own_mask_weights(masks: Tensor, size: int, weight: float) -> Tensor:
    """Weights [B, 1, size, size] f32 of pixels: up to `weight` in each image's own mask, 1 elsewhere.

    A mask [B, 1, H, W] weighs no more than the rest of its image, so that a large one keeps its surroundings.
    """
    inside = pool_mask(masks, size)[:, None]
    share = inside.mean((1, 2, 3), keepdim=True)
    balanced = (1 - share) / share.clamp_min(1 / size**2)
    return 1 + (balanced.clamp(1, weight) - 1) * inside


class PixelWeights:
    """The noise loss's weights of latent pixels, by prompt and by mask: where defects lie they weigh more."""

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


def min_max(maps: Tensor, *, over_batch: bool) -> Tensor:
    """Maps [B, h, w] brought to 0..1, each on its own or all by the batch's extremes."""
    axes = (0, 1, 2) if over_batch else (1, 2)
    low, high = maps.amin(axes, keepdim=True), maps.amax(axes, keepdim=True)
    # A constant map has nothing to normalise and becomes 0; the bound keeps its gradient finite.
    return (maps - low) / (high - low).clamp_min(1e-6)


def pool_mask(mask: Tensor, size: int) -> Tensor:
    """A mask [B, 1, H, W] at size x size, [B, size, size] f32: 1 wherever a pixel of it is, so that small
    defects survive."""
    return functional.adaptive_max_pool2d(mask.float(), size)[:, 0]


def fraction_mask(mask: Tensor, latent: int, size: int) -> Tensor:
    """A mask [B, 1, H, W] at size x size, [B, size, size] f32 in 0..1: bilinear to the latent's size, then
    max-pooled, so that a defect that lies across cells counts in part."""
    resized = functional.interpolate(mask.float(), size=(latent, latent), mode="bilinear")
    return functional.adaptive_max_pool2d(resized, size)[:, 0]


def alignment_loss(
    anomaly_map: Tensor,
    normal_map: Tensor,
    mask: Tensor,
    *,
    over_batch: bool = False,
    touched: bool = False,
) -> Tensor:
    """The DA loss (equation 3) at one resolution.

    The anomaly tokens' map is drawn to the mask over all pixels; the normal token's map is drawn to zero
    inside the mask, as a mean over the mask's pixels (the authors' normalisation), so that a small defect
    counts as much as a large one.

    Args:
        anomaly_map: [B, h, w], the mean of the N anomaly tokens' attention maps, not yet normalised.
        normal_map: [B, h, w], the normal token's attention map.
        mask: [B, h, w] in 0..1.
        over_batch: normalise and average over the batch, as the authors' code, not per sample.
        touched: the normal token's term is taken wherever the mask is over 0, not only where it is 1. Where
            that is nowhere it is 0.
    """
    anomaly = (min_max(anomaly_map, over_batch=over_batch) - mask).square().mean()
    within = (mask > (0 if touched else _WHOLE)).float()
    inside = min_max(normal_map, over_batch=over_batch).square() * within
    if over_batch:
        return anomaly + inside.sum() / within.sum().clamp_min(1)
    per_sample = inside.sum((1, 2)) / within.sum((1, 2)).clamp_min(1)
    return anomaly + per_sample.mean()


def token_maps(maps: Tensor, positions: Tensor) -> Tensor:
    """Mean map [B, h, w] of the tokens at `positions` [B, N] of each sample, from maps [B, h, w, L]."""
    batch, height, width, _ = maps.shape
    index = positions[:, None, None, :].expand(batch, height, width, -1)
    return torch.gather(maps, 3, index).mean(dim=3)
