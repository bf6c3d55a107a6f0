"""Stage 2: trains the mask head on the frozen, fine-tuned U-Net and the VAE (paper section 3.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seas_train.diffusion.examples import Augmentation, Example, Examples
from seas_train.diffusion.prompt_encoding import encode_prompts
from seas_train.methods.seas.mask_head.calibration import best_threshold, move_threshold
from seas_train.methods.seas.mask_head.config import DecodedStep, DrawnBy, MaskHeadConfig
from seas_train.methods.seas.mask_head.decoder.stage import small_decoder
from seas_train.methods.seas.mask_head.latents import Reading, mask_timesteps, training_features
from seas_train.methods.seas.mask_head.losses import FocalRules, mask_loss
from seas_train.methods.seas.mask_head.network.both_paths import BothPaths
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.mask_head.network.normalization import batch_norms
from seas_train.methods.seas.mask_head.network.small_decoder import SmallDecoder
from seas_train.methods.seas.mask_head.preview import preview_sheet
from seas_train.methods.seas.prompts import FineTuned
from seas_train.methods.seas.taps import TapGeometry
from seas_train.training.precision import computes_bfloat16, native_autocast
from seas_train.training.random import StepRandom, first_weights, step_random
from seas_train.training.stage import Batch, Stage

_STATISTICS = "mask_head_statistics"
_CALIBRATION = "mask_head_calibration"
_INITIAL = "mask_head_initial"
_CALIBRATION_BATCHES = 16
logger = logging.getLogger(__name__)


class MaskHeadStage(Stage):
    """The mask head's training. After `run_training`, `finish` gives the head.

    Args:
        tuned: stage 1's result.
        examples: the product's training images.
        config: stage 2's configuration.
        seed: what the head's first weights, and the batches of `finish`, follow from.
        reading: where generation reads masks, None for its default; a student's head is trained there alone.
        decoder: what the head reads features of, trained, where the configuration asks for a small one.
    """

    name: ClassVar[str] = "mask_head"

    def __init__(
        self,
        tuned: FineTuned,
        examples: Examples,
        config: MaskHeadConfig,
        seed: int = 0,
        reading: Reading | None = None,
        decoder: SmallDecoder | None = None,
    ) -> None:
        self.config = config
        self.optimizer = config.optimizer
        self.steps = config.steps
        self._tuned = tuned
        self._models = tuned.models
        self._examples = examples
        self._seed = seed
        self._contexts = torch.empty(0)
        self._reading = reading or Reading(tuple(mask_timesteps(tuned.models.scheduler)))
        self._where_read = torch.tensor(self._reading.timesteps)
        self._device = torch.device("cpu")
        self._ready = False
        self._finished = False
        head = initial_head(config, tuned, seed)
        if decoder is not None and head.decoder is not None:
            head.decoder.load_state_dict(decoder.state_dict())
        self.module = BothPaths(head, config.normal_path, config.coarse_statistics)
        self._focal = FocalRules(
            config.gamma, config.alpha, config.focal_smoothing, config.focal_mean, config.coarse_target
        )

    @property
    def head(self) -> MaskHead:
        """The head that is trained."""
        assert isinstance(self.module, BothPaths)
        return self.module.head

    def identity(self) -> dict[str, Any]:
        """Configuration, stage 1 and native bfloat16."""
        return {
            "config": self.config.to_dict(),
            "finetune": self._tuned.fingerprint,
            "native_bfloat16": self.config.half_precision and computes_bfloat16(),
            **({"timesteps": [*self._reading.timesteps]} if self._reading.of_x0 else {}),
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group: everything but the refinement modules' unused convolution."""
        parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [{"params": parameters, "lr": self.config.learning_rate}]

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Move the frozen models to the device, encode the prompts and the images."""
        self._device = device
        for model in (self._models.unet, self._models.vae, self._models.text_encoder):
            model.to(device).eval().requires_grad_(False)
        self._contexts = encode_prompts(
            self._models.tokenizer,
            self._models.text_encoder,
            list(self._tuned.prompts.texts.values()),  # "good", then the defects in their order
            self._models.geometry.context_length,
        )
        self._examples.use(self._models.vae)
        self._examples.encode_all(progress=progress)
        self._ready = True

    def draw(self, random: StepRandom) -> Batch:
        """Defect and normal images with random augmentation, noise and timesteps."""
        highest = self._models.scheduler.config.num_train_timesteps
        if self.config.max_timestep is not None:
            highest = min(highest, self.config.max_timestep)
        if self._reading.of_x0:
            return self._draw(random, self._where_read)
        return self._draw(random, torch.arange(highest))

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The focal loss and its terms: defects refined and coarse, normals upsampled and coarse."""
        refined, coarse = self._forward(model, tensors)
        terms = mask_loss(refined, coarse, tensors["masks"], self._focal)
        return {
            "loss": terms.total,
            "refined": terms.defect_refined,
            "coarse": terms.defect_coarse,
            "normal": terms.normal_upsampled + terms.normal_coarse,
        }

    def preview(self) -> NDArray[np.uint8] | None:
        """One training pair of each defect: photograph, mask, and predicted probability."""
        defects = range(len(self._tuned.prompts.defects))
        shown = [next(e for e in self._examples.defects if e.defect == index) for index in defects]
        latents = self._examples.moments(shown, [self._examples.augmentations[0]] * len(shown))[:, 0]
        return preview_sheet(
            [self._examples.product.image(example.image, example.view.region) for example in shown],
            torch.cat([example.mask for example in shown]),
            latents * self._models.geometry.scaling_factor,
            self._models,
            self.head,
            self._contexts[1:],
            self._reading,
        )

    def finish(self) -> MaskHead:
        """Fit the trained head to generation and return it, in eval mode on the CPU.

        The batch norms' statistics are measured anew, as those that training averaged are of other
        timesteps, and of weights that have moved since; then the threshold is calibrated, where that is
        configured. The same weights give the same result, whether training was resumed or not.
        """
        if not self._finished:
            if not self._ready:
                self.prepare(self._device, progress=False)
            self.module.to(self._device)
            if self.config.statistics_batches:
                self._measure_statistics()
            if self.config.calibrate_to is not None:
                self._calibrate(self.config.calibrate_to)
            self._finished = True
        for model in (self._models.unet, self._models.vae, self._models.text_encoder):
            model.to("cpu")
        return self.head.to("cpu").eval()

    def _measure_statistics(self) -> None:
        norms = batch_norms(self.head)
        before = [norm.momentum for norm in norms]
        measured = BothPaths(self.head).train()
        for index in range(self.config.statistics_batches):
            for norm in norms:
                norm.momentum = 1 / (index + 1)  # the plain mean over all batches so far
            batch = self._draw(step_random(self._seed, _STATISTICS, index), self._where_read)
            with torch.no_grad():
                self._forward(measured, {name: t.to(self._device) for name, t in batch.tensors.items()})
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum

    def _calibrate(self, tau: float) -> None:
        """Normals are refined too, as in generation."""
        probabilities, masks, kinds = [], [], []
        for index in range(_CALIBRATION_BATCHES):
            batch = self._draw(step_random(self._seed, _CALIBRATION, index), self._where_read)
            tensors = {name: tensor.to(self._device) for name, tensor in batch.tensors.items()}
            sample, prompts = tensors["sample"], tensors["prompts"]
            with native_autocast(self._device, self.config.half_precision):
                features = training_features(
                    self._models,
                    sample,
                    tensors["timesteps"],
                    self._contexts[prompts],
                    len(sample),
                    of_x0=self._reading.of_x0,
                    head=self.head,
                )
                probability = self.head.predict(features.coarse, features.fine, features.vae)
            probabilities.append(probability.float().cpu())
            mask = torch.zeros(probability.shape, dtype=torch.bool)
            mask[: self.config.defect_images] = batch.tensors["masks"]
            masks.append(mask)
            kinds.append(prompts.cpu())
        found = best_threshold(torch.cat(probabilities), torch.cat(masks), torch.cat(kinds))
        logger.info("mask head: the best threshold on the training pairs is %.2f, moved to %.2f", found, tau)
        move_threshold(self.head, found, tau)

    def _draw(self, random: StepRandom, timesteps: Tensor) -> Batch:
        """A batch whose timesteps are drawn from `timesteps`."""
        examples: list[Example] = []
        choices: list[Augmentation] = []
        some, count = self._examples, self.config.defect_images
        for drawn, augmentations in (
            some.draw_by_defect(count, random.numpy)
            if self.config.drawn_by is DrawnBy.DEFECTS
            else some.draw(some.defects, count, random.numpy),
            some.draw(some.normals, self.config.normal_images, random.numpy),
        ):
            examples += drawn
            choices += augmentations
        latents = self._examples.latents(examples, choices, random.torch)
        noise = torch.randn(latents.shape, generator=random.torch)
        chosen = timesteps[torch.randint(len(timesteps), (len(examples),), generator=random.torch)]
        defects = self.config.defect_images
        fresh = {}
        if self.config.decoded is DecodedStep.DDPM:
            fresh["step_noise"] = torch.randn(latents[:defects].shape, generator=random.torch)
        return Batch(
            tensors={
                **fresh,
                "sample": self._models.scheduler.add_noise(latents, noise, chosen),
                "timesteps": chosen,
                "prompts": torch.tensor([0 if e.defect is None else e.defect + 1 for e in examples]),
                "masks": self._examples.masks(examples[:defects], choices[:defects])[:, 0],
            },
            files=tuple(str(example.image) for example in examples),
        )

    def _forward(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Refined logits of the defect samples, coarse logits of all."""
        sample = tensors["sample"]
        context = self._contexts[tensors["prompts"]]
        with native_autocast(self._device, self.config.half_precision):
            features = training_features(
                self._models,
                sample,
                tensors["timesteps"],
                context,
                tensors["masks"].shape[0],
                tensors.get("step_noise"),
                self._reading.of_x0,
                head=self.head,
            )
            # On CPUs convolutions and batch norms over channels-last tensors take about half the time.
            vae_taps = [tap.contiguous(memory_format=torch.channels_last) for tap in features.vae]
            refined, coarse = model(features.coarse, features.fine, vae_taps)
        return refined, coarse


def initial_head(config: MaskHeadConfig, tuned: FineTuned, seed: int) -> MaskHead:
    """Return an untrained head whose weights follow from the seed, in channels-last memory."""
    with first_weights(seed, _INITIAL):
        taps = TapGeometry.of(tuned.models.unet, tuned.models.vae)
        head = MaskHead(config.architecture(taps, tuned.models.geometry.latent_channels))
    channels_last: MaskHead = head.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return channels_last


def train_mask_head(
    tuned: FineTuned,
    examples: Examples,
    config: MaskHeadConfig,
    seed: int,
    reading: Reading,
    run: Callable[[Stage], Any],
) -> tuple[MaskHead, dict[str, Any]]:
    """Return a finished head, with its own decoder where the configuration has one, and the losses by stage.

    run: trains a stage and returns its losses.
    """
    decoder, losses = small_decoder(tuned, examples, config, seed, reading, run)
    stage = MaskHeadStage(tuned, examples, config, seed, reading, decoder)
    losses[stage.name] = run(stage)
    return stage.finish(), losses
