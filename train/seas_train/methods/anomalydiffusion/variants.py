"""Augmented pairs: image and mask flipped, turned a little and cropped, encoded once each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from seas_train.bases.base import Geometry
from seas_train.data import Product
from seas_train.diffusion.examples import Example
from seas_train.methods.anomalydiffusion.config import AnomalyDiffusionConfig
from seas_train.training.precision import native_autocast
from seas_train.training.random import StepRandom

_TRIES = 20
"""Turns and crops that are tried until one keeps the mask; then the pair stays as it is, but for a flip."""


@dataclass(frozen=True)
class Drawn:
    """Variants of a step."""

    latents: Tensor  # [B, C, h, w], scaled
    masks: Tensor  # [B, 1, S, S] f32
    defects: Tensor  # [B] int64
    files: tuple[str, ...]


class Variants:
    """Variants of training pairs. Which they are follows from the pair's number and theirs alone."""

    def __init__(self, examples: Sequence[Example], product: Product, config: AnomalyDiffusionConfig) -> None:
        self._examples, self._product, self._config = list(examples), product, config
        self._moments: dict[tuple[int, int], Tensor] = {}
        self._masks: dict[tuple[int, int], Tensor] = {}
        self._mask_moments: dict[tuple[int, int], Tensor] = {}

    def encode_all(self, vae: Any, *, pictures: bool) -> None:
        """Encode every variant's image, or with `pictures` those of the masks in place of the images."""
        for number, example in enumerate(self._examples):
            image = torch.from_numpy(self._product.image(example.image, example.view.region))
            pixels = image.permute(2, 0, 1)[None].float() / 127.5 - 1
            for variant in range(self._config.variants):
                seen, mask = augment(pixels, example.mask[None].float(), self._config, number, variant)
                self._masks[number, variant] = mask[0] > 0.5
                target = self._mask_moments if pictures else self._moments
                picture = (mask > 0.5).float().expand(-1, 3, -1, -1) * 2 - 1 if pictures else seen
                target[number, variant] = _encode(vae, picture, self._config.half_precision)

    def draw(self, count: int, geometry: Geometry, random: StepRandom, *, pictures: bool = False) -> Drawn:
        """Return random variants of pairs; with `pictures` their masks as pictures."""
        rounds = -(-count // len(self._examples))
        order = [int(n) for _ in range(rounds) for n in random.numpy.permutation(len(self._examples))][:count]
        keys = [(number, int(random.numpy.integers(self._config.variants))) for number in order]
        moments = self._mask_moments if pictures else self._moments
        mean, deviation = torch.stack([moments[key] for key in keys]).unbind(1)
        noise = torch.randn(mean.shape, generator=random.torch)
        return Drawn(
            latents=(mean + deviation * noise) * geometry.scaling_factor,
            masks=torch.stack([self._masks[key] for key in keys]).float(),
            defects=torch.tensor([self._examples[number].defect for number in order]),
            files=tuple(str(self._examples[number].image) for number in order),
        )


def augment(
    image: Tensor, mask: Tensor, config: AnomalyDiffusionConfig, number: int, variant: int
) -> tuple[Tensor, Tensor]:
    """Return an image [1, 3, S, S] and its mask [1, 1, S, S] turned, cropped and flipped alike.

    The first variant is the pair as it is. A crop has all of the mask that there was.
    """
    if variant == 0:
        return image, mask
    random = np.random.default_rng([number, variant])
    flipped = config.flip and bool(random.integers(2))
    for _ in range(_TRIES):
        angle = math.radians(random.uniform(-config.rotate, config.rotate))
        scale = random.uniform(config.crop, 1.0)
        room = 1 - scale
        shift = random.uniform(-room, room, 2)
        theta = _transform(angle, scale, shift, flipped)
        turned = _warp(mask, theta, "nearest", "zeros")
        # a scale below 1 enlarges: nothing of the mask may lie outside
        if float(turned.sum()) * scale**2 >= 0.97 * float(mask.sum()):
            return _warp(image, theta, "bilinear", "reflection"), turned
    theta = _transform(0.0, 1.0, np.zeros(2), flipped)
    return _warp(image, theta, "bilinear", "reflection"), _warp(mask, theta, "nearest", "zeros")


def _transform(angle: float, scale: float, shift: np.ndarray, flipped: bool) -> Tensor:
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    sign = -1.0 if flipped else 1.0
    rows = [[sign * cosine, -sine, shift[0]], [sign * sine, cosine, shift[1]]]
    return torch.tensor([rows], dtype=torch.float32)


def _warp(image: Tensor, theta: Tensor, mode: str, padding: str) -> Tensor:
    grid = functional.affine_grid(theta, list(image.shape), align_corners=False)
    return functional.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=False)


def _encode(vae: Any, pixels: Tensor, half: bool) -> Tensor:
    """Return mean and deviation [2, C, h, w] of a picture's latents."""
    parameter = next(vae.parameters())
    with torch.no_grad(), native_autocast(parameter.device, half):
        posterior = vae.encode(pixels.to(parameter.device, parameter.dtype)).latent_dist
    return torch.cat([posterior.mean, posterior.std]).float().cpu()
