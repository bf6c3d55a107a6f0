"""AnomalyDiffusion's training, from photographs to a checkpoint: pairs first, then masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seas_runtime.manifest.types import GOOD
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.diffusion.examples import Examples
from seas_train.methods.anomalydiffusion.config import AnomalyDiffusionConfig, MaskModelConfig, TrainConfig
from seas_train.methods.anomalydiffusion.model import (
    ENCODER,
    MASK_TOKENS,
    TOKENS,
    MaskModel,
    SpatialModel,
    check_checkpoint,
)
from seas_train.methods.anomalydiffusion.variants import Variants
from seas_train.methods.contract import Method
from seas_train.methods.inpainting.checkpoint import read_tensors, save_checkpoint, write_tensors
from seas_train.methods.inpainting.data import check_base, geometry_for, noised
from seas_train.methods.inpainting.losses import latent_masks, masked_noise_loss
from seas_train.methods.inpainting.words import STANDIN
from seas_train.training.loop import run_training
from seas_train.training.precision import native_autocast
from seas_train.training.random import StepRandom
from seas_train.training.stage import Batch, Stage
from seas_train.training.state import is_first_process

NAME = "anomalydiffusion"


class _Shared(Stage):
    """What both stages have: pairs, augmented and encoded once."""

    _pictures = False

    def __init__(
        self, product: Product, base: Base, config: AnomalyDiffusionConfig, images: int, steps: int
    ) -> None:
        self.product, self.base, self.config = product, base, config
        self.steps, self.optimizer, self._images = steps, config.optimizer, images
        self.geometry = geometry_for(product, base)
        self.examples = Examples(product, self.geometry, rotate=False, flip=False)
        self.variants = Variants(self.examples.defects, product, config)
        self._device = torch.device("cpu")

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Encode the variants."""
        self._device = device
        self.module.to(device)
        self.variants.encode_all(self.base.vae.to(device), pictures=self._pictures)

    def draw(self, random: StepRandom) -> Batch:
        """Variants with their noise and timesteps."""
        drawn = self.variants.draw(self._images, self.geometry, random, pictures=self._pictures)
        tensors = noised(self.base.scheduler, drawn.latents, random)
        return Batch({**tensors, "masks": drawn.masks, "defects": drawn.defects}, drawn.files)

    def identity(self) -> dict[str, Any]:
        """Configuration, data and base."""
        return {
            "config": self.config.to_dict(),
            "data": self.product.fingerprint,
            "base": self.base.fingerprint,
            "image_size": self.geometry.image_size,
        }


class SpatialStage(_Shared):
    """Learns the defects' tokens and the spatial encoder by the noise loss inside of masks."""

    name = "spatial_embedding"

    def __init__(self, product: Product, base: Base, config: AnomalyDiffusionConfig) -> None:
        super().__init__(product, base, config, config.images, config.steps)
        size = self.geometry.image_size
        self.module: SpatialModel = SpatialModel(base, len(product.defects), config, size)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The tokens, and the encoder."""
        encoder = list(self.module.context.encoder.parameters())
        return [
            {"params": [self.module.tokens], "lr": self.config.learning_rate},
            {"params": encoder, "lr": self.config.encoder_learning_rate},
        ]

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean of the squared noise error inside of the masks."""
        with native_autocast(self._device, self.config.half_precision):
            eps = model(tensors["noisy"], tensors["timesteps"], tensors["defects"], tensors["masks"])
        masks = latent_masks(tensors["masks"], self.geometry.latent_size)
        return {"loss": masked_noise_loss(eps, tensors["target"], masks)}


class MaskStage(_Shared):
    """Learns tokens that masks are generated from, by plain inversion on masks as pictures."""

    name = "mask_embedding"
    _pictures = True

    def __init__(
        self, product: Product, base: Base, config: AnomalyDiffusionConfig, masks: MaskModelConfig
    ) -> None:
        super().__init__(product, base, config, masks.images, masks.steps)
        self.masks = masks
        self.module: MaskModel = MaskModel(base, len(product.defects), masks)

    def identity(self) -> dict[str, Any]:
        """Configuration, data and base."""
        return {**super().identity(), "masks": self.masks.to_dict()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The tokens."""
        return [{"params": [self.module.tokens], "lr": self.masks.learning_rate}]

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean of the squared noise error, of the whole picture."""
        with native_autocast(self._device, self.config.half_precision):
            eps = model(tensors["noisy"], tensors["timesteps"], tensors["defects"])
        whole = torch.ones_like(tensors["noisy"][:, :1])
        return {"loss": masked_noise_loss(eps, tensors["target"], whole)}


def defaults(base: Base, product: Product, rules: str | None = None) -> TrainConfig:
    """The configuration for a base and a product; see `Method.defaults`."""
    return TrainConfig.for_base(base, len(product.defects), rules)


def train(
    product: Product,
    base: Base,
    out: Path,
    run_dir: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    progress: bool = True,
) -> None:
    """Learn tokens and encoder, then the masks' tokens, and write the checkpoint; see `train_product`."""
    names = [defect.name for defect in product.defects]
    first = SpatialStage(product, base, config.anomalydiffusion)
    losses = {first.name: run_training(first, run_dir, config.loop, resume=resume, progress=progress)}
    learned = dict(zip(names, first.module.tokens.detach(), strict=True))
    encoder = dict(first.module.context.encoder.state_dict())
    masks: dict[str, Tensor] = {}
    if config.masks.steps:
        second = MaskStage(product, base, config.anomalydiffusion, config.masks)
        losses[second.name] = run_training(second, run_dir, config.loop, resume=resume, progress=progress)
        masks = dict(zip(names, second.module.tokens.detach(), strict=True))
    if not is_first_process():
        return  # accelerate's other processes have the same tokens; the first one writes them
    first.examples.use(base.vae.to("cpu"))
    save_checkpoint(
        out,
        NAME,
        base,
        first.geometry,
        product,
        config,
        artifacts={
            TOKENS: partial(write_tensors, learned),
            ENCODER: partial(write_tensors, encoder),
            MASK_TOKENS: partial(write_tensors, masks),
        },
        references=first.examples.references(),
        prompts={GOOD: "", **dict.fromkeys(names, STANDIN)},
        generation=config.generation.described(base.scheduler),
        losses=losses,
    )


METHOD = Method(
    check_base=check_base,
    defaults=defaults,
    train=train,
    artifacts={name: read_tensors for name in (TOKENS, ENCODER, MASK_TOKENS)},
    check_checkpoint=check_checkpoint,
    longer=f"{NAME}.steps",
    stages={SpatialStage.name: "Tokens and spatial encoder", MaskStage.name: "Tokens of masks"},
    later=("generation", "masks"),
)
