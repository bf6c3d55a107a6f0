"""AnomalyXFusion's training, from photographs and sentences to a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.diffusion.examples import Examples
from seas_train.diffusion.prediction import predicts_v
from seas_train.methods.anomalyxfusion.captions import default_sentence, read_captions, sentence_of
from seas_train.methods.anomalyxfusion.config import AnomalyXFusionConfig, TrainConfig
from seas_train.methods.anomalyxfusion.features import (
    encoder_digest,
    sentence_features,
    texture_features,
)
from seas_train.methods.anomalyxfusion.fusion import norm_loss
from seas_train.methods.anomalyxfusion.model import FUSION, TEXTURES, TIME, FusionModel, check_checkpoint
from seas_train.methods.contract import Method
from seas_train.methods.inpainting.checkpoint import read_tensors, save_checkpoint, write_tensors
from seas_train.methods.inpainting.data import by_defect, encode_pairs, geometry_for, noised
from seas_train.methods.inpainting.data import check_base as check_features
from seas_train.methods.inpainting.losses import latent_masks
from seas_train.methods.inpainting.words import word_state
from seas_train.training.loop import run_training
from seas_train.training.precision import native_autocast
from seas_train.training.random import StepRandom
from seas_train.training.stage import Batch, Stage
from seas_train.training.state import is_first_process

NAME = "anomalyxfusion"
logger = logging.getLogger(__name__)


class FusionStage(Stage):
    """Learns fusion, time and textures by the unsquared noise error of whole pictures.

    The paper blends in training as in sampling: inside of the mask the noised picture, outside of it the
    noised background. Here both are the same training picture under the same noise, so that it is one.
    """

    name = "fusion"

    def __init__(self, product: Product, base: Base, config: AnomalyXFusionConfig) -> None:
        self.product, self.base, self.config = product, base, config
        self.steps, self.optimizer = config.steps, config.optimizer
        self.geometry = geometry_for(product, base)
        self.examples = Examples(
            product, self.geometry, rotate=False, flip=config.flip, half_precision=config.half_precision
        )
        self.captions = read_captions(product, config.captions)
        self._sentences = self._features()
        self.module: FusionModel = FusionModel(base, self._first_textures(), config)
        self._device = torch.device("cpu")

    def identity(self) -> dict[str, Any]:
        """Configuration, data, sentences and base."""
        return {
            "config": self.config.to_dict(),
            "data": self.product.fingerprint,
            **read(self.product, self.config),
            "base": self.base.fingerprint,
            "image_size": self.geometry.image_size,
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The networks, and the textures."""
        trained = [*self.module.fusion.parameters(), *self.module.time.parameters()]
        return [
            {"params": trained, "lr": self.config.learning_rate},
            {"params": [self.module.textures], "lr": self.config.texture_learning_rate},
        ]

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Encode the pairs."""
        self._device = device
        self.module.to(device)
        encode_pairs(self.examples, self.base.vae.to(device))

    def draw(self, random: StepRandom) -> Batch:
        """Pairs with their noise, timesteps and sentences."""
        drawn, choices = self.examples.draw(self.examples.defects, self.config.images, random.numpy)
        latents = self.examples.latents(drawn, choices, random.torch)
        return Batch(
            tensors={
                **noised(self.base.scheduler, latents, random),
                "masks": self.examples.masks(drawn, choices).float(),
                "defects": torch.tensor([example.defect for example in drawn]),
                "sentences": torch.stack([self._sentences[example.image] for example in drawn]),
            },
            files=tuple(str(example.image) for example in drawn),
        )

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean norm of the noise error, in the masks weighted by `region_weight`."""
        names = ("noisy", "timesteps", "defects", "sentences", "masks")
        with native_autocast(self._device, self.config.half_precision):
            eps = model(*(tensors[name] for name in names))
        weights = None
        if self.config.region_weight != 1:
            masks = latent_masks(tensors["masks"], self.geometry.latent_size)
            weights = 1 + (self.config.region_weight - 1) * masks
        return {"loss": norm_loss(eps, tensors["target"], weights)}

    def _features(self) -> dict[Path, Tensor]:
        """Return the feature [D] of each training picture's sentence."""
        words = {
            pair.image: self.captions.get(
                pair.image, default_sentence(self.product.label, defect.label or defect.name)
            )
            for defect in self.product.defects
            for pair in defect.train
        }
        length = self.geometry.context_length
        made = sentence_features(self.base.tokenizer, self.base.text_encoder, list(words.values()), length)
        return dict(zip(words, made, strict=True))

    def _first_textures(self) -> Tensor:
        """Return what textures start as, [defects, D]."""
        config, length = self.config, self.geometry.context_length
        if config.image_encoder is None:
            logger.info(
                "textures start from the word %r: there is no CLIP image encoder (--image-encoder DIR)",
                config.word,
            )
            first = word_state(self.base.tokenizer, self.base.text_encoder, config.word, length)
            return first.repeat(len(self.product.defects), 1)
        made = []
        for own in by_defect(self.examples.defects, len(self.product.defects)):
            images = [self.product.image(example.image, example.view.region) for example in own]
            masks = [example.mask[0] for example in own]
            made.append(texture_features(config.image_encoder, images, masks, self.geometry.context_width))
        return torch.stack(made)


def read(product: Product, config: AnomalyXFusionConfig) -> dict[str, Any]:
    """Return the sentences by picture, and the image encoder's digest, that a training follows from."""
    captions = read_captions(product, config.captions)
    said = {f"{path.parent.name}/{path.name}": text for path, text in sorted(captions.items())}
    encoder = {} if config.image_encoder is None else {"image_encoder": encoder_digest(config.image_encoder)}
    return {"captions": said, **encoder}


def check_base(base: Base) -> None:
    """Raise UserError for a base that lacks features that pairs are scored by, or that predicts v."""
    check_features(base)
    if predicts_v(base.scheduler):
        raise UserError(f"base {base.name}: anomalyxfusion is of bases that predict noise, this one v")


def defaults(base: Base, product: Product, rules: str | None = None) -> TrainConfig:
    """The configuration for a base and a product; see `Method.defaults`."""
    if rules == "authors":
        raise UserError(
            "--reproduce authors: the authors' public code has neither of AnomalyXFusion's modules; "
            "give paper"
        )
    return TrainConfig.for_base(base, len(product.defects))


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
    """Learn the fusion and write the checkpoint; see `train_product`."""
    stage = FusionStage(product, base, config.anomalyxfusion)
    losses = run_training(stage, run_dir, config.loop, resume=resume, progress=progress)
    if not is_first_process():
        return  # accelerate's other processes have the same weights; the first one writes them
    names = [defect.name for defect in product.defects]
    learned = dict(zip(names, stage.module.textures.detach(), strict=True))
    words = {name: sentence_of(stage.captions, product, index) for index, name in enumerate(names)}
    stage.examples.use(base.vae.to("cpu"))
    save_checkpoint(
        out,
        NAME,
        base,
        stage.geometry,
        product,
        config,
        artifacts={
            FUSION: partial(write_tensors, dict(stage.module.fusion.state_dict())),
            TIME: partial(write_tensors, dict(stage.module.time.state_dict())),
            TEXTURES: partial(write_tensors, learned),
        },
        references=stage.examples.references(),
        prompts={GOOD: product.label, **words},
        generation=config.generation.described(base.scheduler),
        losses={stage.name: losses},
        read=read(product, config.anomalyxfusion),
    )


METHOD = Method(
    check_base=check_base,
    defaults=defaults,
    train=train,
    artifacts={name: read_tensors for name in (FUSION, TIME, TEXTURES)},
    check_checkpoint=check_checkpoint,
    longer=f"{NAME}.steps",
    stages={FusionStage.name: "Fusion, time and textures"},
    files={"image-encoder": f"{NAME}.image_encoder", "captions": f"{NAME}.captions"},
    read=lambda product, config: read(product, config.anomalyxfusion),
)
