"""Stage 1 as the training loop runs it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, unet_reduction
from seas_train.data import Product
from seas_train.diffusion.examples import Example, Examples
from seas_train.diffusion.prediction import training_target
from seas_train.diffusion.prompt_encoding import tokenize
from seas_train.diffusion.sampling import preview_sheet
from seas_train.methods.seas.finetune.attention import REDUCTIONS, where_tokens_look
from seas_train.methods.seas.finetune.config import (
    AlignmentMask,
    AttentionMaps,
    FinetuneConfig,
    NormalTerm,
    TrainedTokens,
)
from seas_train.methods.seas.finetune.lora import add_adapters, merged
from seas_train.methods.seas.finetune.losses import (
    PixelWeights,
    alignment_loss,
    fraction_mask,
    high_noise_weights,
    noise_loss,
    offset_noise,
    pool_mask,
    token_maps,
)
from seas_train.methods.seas.finetune.model import FinetuneModel
from seas_train.methods.seas.prompts import FineTuned, Prompts, extend, write_back
from seas_train.training.precision import computes_bfloat16, native_autocast
from seas_train.training.random import StepRandom
from seas_train.training.stage import Batch, Stage

_OPEN_SCORES = 2**24
"""Numbers of one attention head's scores over a batch, up to which they are held whole on a CPU."""


class FinetuneStage(Stage):
    """Separation and Sharing fine-tuning of a base on a product (paper section 3.2)."""

    name = "finetune"

    def __init__(self, product: Product, base: Base, config: FinetuneConfig) -> None:
        """Copy what is trained from the base, which stays as it is.

        Args:
            product: what to train on; its images' size may differ from the base's own.
            base: what to start from.
            config: the stage's configuration.

        Raises:
            UserError: the base cannot be trained so: its context is too short, or it lacks the
            cross-attention.
        """
        size, factor = product.preprocessing.size, base.geometry.latent_factor
        multiple = factor * unet_reduction(base.unet)
        if size % multiple:
            raise UserError(
                f"image size: expected a multiple of {multiple} for base {base.name}, found {size}"
            )
        self.product = product
        self.base = base
        self.config = config
        self.steps = config.steps
        self.optimizer = config.optimizer
        self.geometry = base.geometry.at(size)
        self.examples = Examples(
            product,
            self.geometry,
            rotate=config.rotate,
            flip=config.flip,
            normal_augmentations=config.normal_augmentations,
            mirrored_share=config.mirrored_share,
            paired_normals=config.paired_normals,
            half_precision=config.half_precision,
        )
        self.prompts = prompts_of(tuple(defect.name for defect in product.defects), config)

        self._tokenizer = copy.deepcopy(base.tokenizer)
        text_encoder = copy.deepcopy(base.text_encoder)
        embedding = extend(
            self._tokenizer,
            text_encoder,
            self.prompts,
            train_all=config.trained_tokens is TrainedTokens.ALL,
        )
        embedding.requires_grad_(config.trained_tokens is not TrainedTokens.NONE)
        unet = copy.deepcopy(base.unet)
        if config.lora_rank:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # the same adapters to begin with, whatever ran before
                add_adapters(unet, config.lora_rank, half_frozen=config.half_frozen)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.module: FinetuneModel = FinetuneModel(unet, text_encoder, embedding, config.attention)

        # Row 0 is the normal prompt, row 1 + i that of defect i.
        self._prompt_ids = tokenize(
            self._tokenizer, list(self.prompts.texts.values()), self.geometry.context_length
        )
        ids = self._tokenizer.convert_tokens_to_ids(list(self.prompts.tokens))
        normal_ids, anomaly_ids = ids[: config.normal_tokens], ids[config.normal_tokens :]
        new = (self._prompt_ids >= min(anomaly_ids)) & (self._prompt_ids <= max(anomaly_ids))
        self._anomaly_positions = torch.stack([row.nonzero()[:, 0] for row in new[1:]])  # [defects, N]
        normal = torch.isin(self._prompt_ids, torch.tensor(normal_ids))
        # The product's tokens stand at the same places in every prompt.
        self._normal_positions = normal[0].nonzero()[:, 0]  # [M]
        self._pixel_weights = PixelWeights(
            self.examples,
            len(product.defects),
            self.geometry.latent_size,
            config.region_weight,
            config.weighted_region,
        )
        self._device = torch.device("cpu")

    def identity(self) -> dict[str, Any]:
        """Configuration, data and base."""
        return {
            "config": self.config.to_dict(),
            "native_bfloat16": self.config.half_precision and computes_bfloat16(),
            "data": self.product.fingerprint,
            "base": self.base.fingerprint,
            "image_size": self.geometry.image_size,
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The U-Net, and the rows of the token embedding that are trained."""
        rate = self.config.lora_learning_rate if self.config.lora_rank else self.config.unet_learning_rate
        trained = [parameter for parameter in self.module.unet.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": trained, "lr": rate}]
        if self.config.trained_tokens is not TrainedTokens.NONE:
            rows = [self.module.embedding.rows]
            groups.append({"params": rows, "lr": self.config.embedding_learning_rate})
        return groups

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Encode the product's images."""
        self._device = device
        if device.type == "cpu":  # its convolutions run faster so, above all in bfloat16
            self.module.unet.to(memory_format=torch.channels_last)
            batch = self.config.defect_images + self.config.normal_images
            few = batch * self.geometry.latent_size**4 <= _OPEN_SCORES
            if few and self.config.half_precision and computes_bfloat16():
                self.module.recorder.compute_openly()
        self.examples.use(self.base.vae.to(device))
        self.examples.encode_all(progress=progress)

    def draw(self, random: StepRandom) -> Batch:
        """Defect images, then normal images, with their noise and timesteps."""
        defects, defect_choices = self.examples.draw(
            self.examples.defects, self.config.defect_images, random.numpy
        )
        count = self.config.normal_images if self.config.normal_alignment else 0
        normals, normal_choices = self.examples.draw(self.examples.normals, count, random.numpy)
        drawn, choices = [*defects, *normals], [*defect_choices, *normal_choices]
        latents = self.examples.latents(drawn, choices, random.torch)
        noise = offset_noise(latents.shape, self.config.offset_noise, random.torch)
        timesteps = self._timesteps(len(drawn), random.torch)
        prompts = torch.tensor([_prompt_row(example) for example in drawn])
        distinct, index = torch.unique(prompts, return_inverse=True)
        masks = self.examples.masks(defects, defect_choices)
        return Batch(
            tensors={
                "noisy": self.base.scheduler.add_noise(latents, noise, timesteps),
                "target": training_target(self.base.scheduler, latents, noise, timesteps),
                "timesteps": timesteps,
                "weights": self._pixel_weights.of(prompts, masks)
                * high_noise_weights(
                    self.base.scheduler.alphas_cumprod, timesteps, self.config.high_noise_weight
                ),
                "prompt_ids": self._prompt_ids[distinct],
                "prompt_index": index,
                "defects": prompts[: len(defects)] - 1,
                "masks": masks,
            },
            files=tuple(str(example.image) for example in drawn),
        )

    def _timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        """Timesteps [count] int64, `noisy_share` of them from the schedule's noisier half."""
        highest: int = self.base.scheduler.config.num_train_timesteps
        timesteps = torch.randint(0, highest, (count,), generator=generator)
        if self.config.noisy_share > 0:
            noisier = torch.rand(count, generator=generator) < self.config.noisy_share
            timesteps = torch.where(noisier, highest - 1 - timesteps // 2, timesteps)
        return timesteps

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The noise loss on the defect images, the NA loss, and the DA loss."""
        with native_autocast(self._device, self.config.half_precision):
            eps, maps = model(
                tensors["noisy"], tensors["timesteps"], tensors["prompt_ids"], tensors["prompt_index"]
            )
        eps = eps.float()
        count = tensors["masks"].shape[0]
        target, weights = tensors["target"], tensors["weights"]
        defect = noise_loss(eps[:count], target[:count], weights[:count])
        normal = eps.new_zeros(())
        if self.config.normal_alignment:
            normal = noise_loss(eps[count:], target[count:], weights[count:])
        alignment = self._alignment(
            {r: m[:count] for r, m in maps.items()}, tensors["defects"], tensors["masks"]
        )
        total = defect + normal + self.config.alignment_weight * alignment
        return {"loss": total, "noise_defect": defect, "noise_normal": normal, "alignment": alignment}

    def _alignment(self, maps: Mapping[int, Tensor], defects: Tensor, masks: Tensor) -> Tensor:
        positions = self._anomaly_positions.to(defects.device)[defects]  # [B, N]
        terms = [
            alignment_loss(
                token_maps(maps[reduction].float(), positions),
                maps[reduction][..., self._normal_positions].float().mean(dim=-1),
                self._mask_at(masks, maps[reduction].shape[1]),
                over_batch=self.config.attention is AttentionMaps.AUTHORS,
                touched=self.config.normal_term is NormalTerm.TOUCHED,
            )
            for reduction in REDUCTIONS
        ]
        return torch.stack(terms).sum()

    def _mask_at(self, masks: Tensor, size: int) -> Tensor:
        if self.config.alignment_mask is AlignmentMask.FRACTIONS:
            return fraction_mask(masks, self.geometry.latent_size, size)
        return pool_mask(masks, size)

    def preview(self) -> NDArray[np.uint8]:
        """Two generated images per prompt, a row each; with `attention_previews`, where each token looks in
        the first of them."""
        prompt_ids = self._prompt_ids.to(self._device)
        with native_autocast(self._device, self.config.half_precision):
            return preview_sheet(
                unet=self.module.unet,
                vae=self.base.vae,
                scheduler=self.base.scheduler,
                contexts=self.module.context(prompt_ids),
                attention=self._attention if self.config.attention_previews else None,
                unconditional=self.module.context(
                    tokenize(self._tokenizer, [""], self.geometry.context_length).to(self._device)
                ),
                geometry=self.geometry,
            )

    def _attention(self, latents: Tensor) -> list[Tensor]:
        """Where the new tokens of each prompt look in its image's latents."""
        prompt_ids = self._prompt_ids.to(self._device)
        normal, anomaly = self._normal_positions, self._anomaly_positions
        positions = [normal, *(torch.cat([normal, row]) for row in anomaly)]
        return where_tokens_look(self.module, self.base.scheduler, prompt_ids, positions, latents)

    def result(self, fingerprint: str) -> FineTuned:
        """The fine-tuned models, to be called once, after training: what was trained is handed over, not
        copied."""
        self.module.recorder.remove()
        unet, text_encoder = self.module.unet, self.module.text_encoder
        if self.config.gradient_checkpointing:
            unet.disable_gradient_checkpointing()
        unet.to(memory_format=torch.contiguous_format)
        if self.config.lora_rank:
            unet = merged(self.base.unet, unet)
        write_back(text_encoder, self.module.embedding)
        models = replace(
            self.base,
            geometry=self.geometry,
            tokenizer=self._tokenizer,
            text_encoder=text_encoder.requires_grad_(False).eval(),
            unet=unet.requires_grad_(False).eval(),
            vae=self.base.vae.to("cpu"),
        )
        return FineTuned(models=models, prompts=self.prompts, fingerprint=fingerprint)


def prompts_of(defects: tuple[str, ...], config: FinetuneConfig) -> Prompts:
    """The prompts of a product's defects as stage 1 is configured."""
    return Prompts(
        defects, config.anomaly_tokens, config.normal_tokens, config.normal_word, config.anomaly_word
    )


def _prompt_row(example: Example) -> int:
    return 0 if example.defect is None else 1 + example.defect
