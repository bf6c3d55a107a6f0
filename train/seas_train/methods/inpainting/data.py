"""Pairs that train, and the noised latents of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, Geometry, unet_reduction
from seas_train.data import Product
from seas_train.diffusion.examples import Example, Examples
from seas_train.diffusion.prediction import training_target
from seas_train.diffusion.taps import tap_indices
from seas_train.training.random import StepRandom


def check_base(base: Base) -> None:
    """Raise UserError for a base whose U-Net lacks the features that pairs are scored by."""
    tap_indices(base.unet)


def geometry_for(product: Product, base: Base) -> Geometry:
    """Return the base's geometry at the product's image size; UserError for a size that does not fit."""
    size = product.preprocessing.size
    multiple = base.geometry.latent_factor * unet_reduction(base.unet)
    if size % multiple:
        raise UserError(f"image size: expected a multiple of {multiple} for base {base.name}, found {size}")
    return base.geometry.at(size)


def with_shots(product: Product, shots: int | None, seed: int) -> Product:
    """Return a product with at most `shots` training pairs a defect, drawn by the seed; None for all."""
    if shots is None:
        return product
    defects = []
    for number, defect in enumerate(product.defects):
        random = np.random.default_rng([seed, number])
        chosen = sorted(random.permutation(len(defect.train))[:shots].tolist())
        defects.append(replace(defect, train=tuple(defect.train[place] for place in chosen)))
    return replace(product, defects=tuple(defects))


def by_defect(examples: Sequence[Example], defects: int) -> list[list[Example]]:
    """Return the examples of each defect."""
    return [[example for example in examples if example.defect == number] for number in range(defects)]


def noised(scheduler: Any, latents: Tensor, random: StepRandom) -> dict[str, Tensor]:
    """Return `noisy` latents [B, C, h, w], `target`, what is to be predicted, and `timesteps` [B]."""
    noise = torch.randn(latents.shape, generator=random.torch)
    most: int = scheduler.config.num_train_timesteps
    timesteps = torch.randint(0, most, (len(latents),), generator=random.torch)
    return {
        "noisy": scheduler.add_noise(latents, noise, timesteps),
        "target": training_target(scheduler, latents, noise, timesteps),
        "timesteps": timesteps,
    }


def encode_pairs(examples: Examples, vae: Any) -> None:
    """Encode all pairs in all augmentations with a VAE, on the device that it is on."""
    examples.use(vae)
    for choice in examples.augmentations:
        examples.moments(examples.defects, [choice] * len(examples.defects))
