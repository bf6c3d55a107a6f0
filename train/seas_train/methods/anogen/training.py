"""AnoGen's training, from photographs to a checkpoint."""

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
from seas_train.methods.anogen.config import AnoGenConfig, TrainConfig
from seas_train.methods.anogen.model import EMBEDDINGS, EmbeddingModel, check_checkpoint
from seas_train.methods.contract import Method
from seas_train.methods.inpainting.checkpoint import read_tensors, save_checkpoint, write_tensors
from seas_train.methods.inpainting.data import (
    by_defect,
    check_base,
    encode_pairs,
    geometry_for,
    noised,
    with_shots,
)
from seas_train.methods.inpainting.losses import latent_masks, masked_noise_loss
from seas_train.methods.inpainting.words import STANDIN
from seas_train.training.loop import run_training
from seas_train.training.precision import native_autocast
from seas_train.training.random import StepRandom
from seas_train.training.stage import Batch, Stage
from seas_train.training.state import is_first_process

NAME = "anogen"


class AnoGenStage(Stage):
    """Learns an embedding a defect by the noise loss inside of masks.

    Adam works on each number apart, so that embeddings which are learned side by side are what each would be
    if learned alone.
    """

    name = "anogen"

    def __init__(self, product: Product, base: Base, config: AnoGenConfig) -> None:
        self.product, self.base, self.config = product, base, config
        self.steps, self.optimizer = config.steps, config.optimizer
        self.geometry = geometry_for(product, base)
        self.examples = Examples(
            product, self.geometry, rotate=False, flip=config.flip, half_precision=config.half_precision
        )
        self.pools = by_defect(self.examples.defects, len(product.defects))
        self.module: EmbeddingModel = EmbeddingModel(base, len(product.defects), config)
        self._device = torch.device("cpu")

    def identity(self) -> dict[str, Any]:
        """Configuration, data and base."""
        return {
            "config": self.config.to_dict(),
            "data": self.product.fingerprint,
            "pairs": {defect.name: len(defect.train) for defect in self.product.defects},
            "base": self.base.fingerprint,
            "image_size": self.geometry.image_size,
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The embeddings."""
        return [{"params": [self.module.rows], "lr": self.config.learning_rate}]

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Encode the pairs."""
        self._device = device
        self.module.to(device)
        encode_pairs(self.examples, self.base.vae.to(device))

    def draw(self, random: StepRandom) -> Batch:
        """`images` of each defect, with their noise and timesteps."""
        drawn, choices = [], []
        for pool in self.pools:
            some, turned = self.examples.draw(pool, self.config.images, random.numpy)
            drawn += some
            choices += turned
        latents = self.examples.latents(drawn, choices, random.torch)
        masks = latent_masks(self.examples.masks(drawn, choices), self.geometry.latent_size)
        numbers = torch.tensor([example.defect for example in drawn])
        return Batch(
            tensors={**noised(self.base.scheduler, latents, random), "masks": masks, "defects": numbers},
            files=tuple(str(example.image) for example in drawn),
        )

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over the defects of their masked noise losses."""
        with native_autocast(self._device, self.config.half_precision):
            eps = model(tensors["noisy"], tensors["timesteps"], tensors["defects"])
        mean = masked_noise_loss(eps, tensors["target"], tensors["masks"])
        return {"loss": mean * len(self.pools), "noise": mean}


def defaults(base: Base, product: Product, rules: str | None = None) -> TrainConfig:
    """The configuration for a base; see `Method.defaults`."""
    return TrainConfig.for_base(base, rules)


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
    """Learn the embeddings and write the checkpoint; see `train_product`."""
    product = with_shots(product, config.anogen.shots, config.seed)
    stage = AnoGenStage(product, base, config.anogen)
    losses = run_training(stage, run_dir, config.loop, resume=resume, progress=progress)
    if not is_first_process():
        return  # accelerate's other processes have the same embeddings; the first one writes them
    names = [defect.name for defect in product.defects]
    learned = dict(zip(names, stage.module.rows.detach(), strict=True))
    stage.examples.use(base.vae.to("cpu"))
    save_checkpoint(
        out,
        NAME,
        base,
        stage.geometry,
        product,
        config,
        artifacts={EMBEDDINGS: partial(write_tensors, learned)},
        references=stage.examples.references(),
        prompts={GOOD: "", **dict.fromkeys(names, STANDIN)},
        generation=config.generation.described(base.scheduler),
        losses={stage.name: losses},
    )


METHOD = Method(
    check_base=check_base,
    defaults=defaults,
    train=train,
    artifacts={EMBEDDINGS: read_tensors},
    check_checkpoint=check_checkpoint,
    longer=f"{NAME}.steps",
    stages={AnoGenStage.name: "Embeddings of the defects"},
)
