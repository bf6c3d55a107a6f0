"""Latent consistency distillation (Luo et al. 2023, arXiv 2310.04378, algorithm 1) as the loop runs it.

The student's guess of x0 from x_t is drawn to the guess that its moving average makes from the teacher's
x_s, a step of DDIM with classifier-free guidance later. So every x_t of a path ends at the same x0, and
guidance is in the student's weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seas_train.diffusion.consistency import MOST_STEPS, boundary_scalings, lcm_scheduler
from seas_train.diffusion.examples import Examples
from seas_train.diffusion.prediction import predicted_noise, predicted_x0, signal_and_spread
from seas_train.diffusion.prompt_encoding import encode_prompts
from seas_train.diffusion.sampling import preview_sheet
from seas_train.methods.seas.distill.config import DistillStageConfig
from seas_train.methods.seas.distill.generated import MadeLatents
from seas_train.methods.seas.finetune.config import WeightedRegion
from seas_train.methods.seas.finetune.lora import add_adapters, merged
from seas_train.methods.seas.finetune.losses import PixelWeights
from seas_train.methods.seas.prompts import FineTuned
from seas_train.training.precision import computes_bfloat16, native_autocast
from seas_train.training.random import StepRandom
from seas_train.training.stage import Batch, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


class DistillStage(Stage):
    """The student's training. After `run_training`, `result` gives the models with the student in place.

    Args:
        tuned: the teacher, which stays as it is.
        examples: the product's training images.
        config: the stage's configuration.
        guidance: the teacher's, which the student learns.
        steps: the student's, of previews.
        region: where `region_weight` is for.
        made: latents of pictures that the teacher made beforehand, beside the training images'.
    """

    name = "distill"

    def __init__(
        self,
        tuned: FineTuned,
        examples: Examples,
        config: DistillStageConfig,
        *,
        guidance: float,
        steps: int,
        region: WeightedRegion = WeightedRegion.ANY_MASK,
        made: MadeLatents | None = None,
    ) -> None:
        self.config, self.steps, self.optimizer = config, config.steps, config.optimizer
        self._tuned, self._models, self._examples = tuned, tuned.models, examples
        self._guidance, self._student_steps, self._made = guidance, steps, made
        self._scheduler = tuned.models.scheduler
        unet = copy.deepcopy(tuned.models.unet).requires_grad_(True)
        if config.lora_rank:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # the same adapters to begin with, whatever ran before
                add_adapters(unet, config.lora_rank, half_frozen=config.half_frozen)
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.module: nn.Module = unet
        # A step of the teacher begins at one of the timesteps that a student can be run at.
        self._grid = lcm_scheduler(self._scheduler.config, MOST_STEPS).timesteps.flip(0)
        self._pixel_weights = PixelWeights(
            examples,
            len(tuned.prompts.defects),
            tuned.models.geometry.latent_size,
            config.region_weight,
            region,
        )
        self._average: Mapping[str, Tensor] = {}
        self._contexts = self._unconditional = torch.empty(0)
        self._device = torch.device("cpu")

    def identity(self) -> dict[str, Any]:
        """Configuration, teacher, guidance, generated pictures and native bfloat16."""
        return {
            "config": self.config.to_dict(),
            "teacher": self._tuned.fingerprint,
            "guidance": self._guidance,
            "native_bfloat16": self.config.half_precision and computes_bfloat16(),
            **({} if self._made is None else {"generated": self._made.described()}),
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The U-Net, or its adapters."""
        rate = self.config.lora_learning_rate if self.config.lora_rank else self.config.learning_rate
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": rate}]

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Move the teacher to the device, encode the prompts and the images."""
        self._device = device
        models = self._models
        texts = ["", *self._tuned.prompts.texts.values()]
        encoded = encode_prompts(
            models.tokenizer, models.text_encoder, texts, models.geometry.context_length
        ).to(device)
        self._unconditional, self._contexts = encoded[:1], encoded[1:]
        if not self.config.lora_rank:
            models.unet.to(device).eval().requires_grad_(False)
        if device.type == "cpu":  # convolutions run faster so
            for unet in (self.module, models.unet):
                nn.Module.to(unet, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._examples.use(models.vae.to(device))
        self._examples.encode_all(progress=progress)
        if self._made is not None:
            self._made.encode(self._examples, progress=progress)

    def follow(self, average: Mapping[str, Tensor]) -> None:
        """Keep the moving average: it is the target."""
        self._average = average

    def draw(self, random: StepRandom) -> Batch:
        """Defect images, then normal images, with their noise and timesteps."""
        some = self._examples
        defects, choices = some.draw(some.defects, self.config.defect_images, random.numpy)
        normals, more = some.draw(some.normals, self.config.normal_images, random.numpy)
        masks = some.masks(defects, choices)
        drawn = [*defects, *normals]
        latents = some.latents(drawn, [*choices, *more], random.torch)
        prompts = torch.tensor([0 if item.defect is None else 1 + item.defect for item in drawn])
        made = {} if self._made is None else self._made.mix(some, latents, masks, prompts, random)
        noise = torch.randn(latents.shape, generator=random.torch)
        places = torch.randint(len(self._grid), (len(drawn),), generator=random.torch)
        timesteps = self._grid[places]
        return Batch(
            tensors={
                "noisy": self._scheduler.add_noise(latents, noise, timesteps),
                "timesteps": timesteps,
                "prompts": prompts,
                "weights": self._pixel_weights.of(prompts, masks),
            },
            files=tuple(made.get(place, str(item.image)) for place, item in enumerate(drawn)),
        )

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The pseudo-Huber distance between the student's x0 and the target's."""
        noisy, timesteps, context = tensors["noisy"], tensors["timesteps"], self._contexts[tensors["prompts"]]
        with native_autocast(self._device, self.config.half_precision):
            with torch.no_grad():
                earlier = (timesteps - self.config.skip).clamp_min(0)
                before = self._teacher_step(noisy, timesteps, earlier, context)
                target = self._x0(self._averaged, before, earlier, context)
            made = self._x0(model, noisy, timesteps, context)
        c = self.config.huber
        distance = ((made - target).square() + c * c).sqrt() - c
        loss = (distance * tensors["weights"]).mean()
        return {"loss": loss, "apart": (made - target).abs().mean()}

    def _teacher_step(self, noisy: Tensor, timesteps: Tensor, earlier: Tensor, context: Tensor) -> Tensor:
        """Return x_s [B,C,h,w] of x_t: a step of DDIM with guidance."""
        contexts = torch.cat([self._unconditional.expand_as(context), context])
        with self._as_teacher() as teacher:
            doubled, twice = torch.cat([noisy, noisy]), torch.cat([timesteps, timesteps])
            unconditional, conditional = teacher(doubled, twice, contexts).sample.float().chunk(2)
        guided = unconditional + self._guidance * (conditional - unconditional)
        noise = predicted_noise(self._scheduler, noisy, guided, timesteps)
        x0 = predicted_x0(self._scheduler, noisy, noise, timesteps)
        signal, spread = signal_and_spread(self._scheduler.alphas_cumprod, earlier)
        return signal * x0 + spread * noise

    @contextmanager
    def _as_teacher(self) -> Iterator[Any]:
        """The fine-tuned U-Net: with adapters, the student's without them."""
        if not self.config.lora_rank:
            yield self._models.unet
            return
        unet: Any = self.module
        unet.disable_adapters()
        try:
            yield unet
        finally:
            unet.enable_adapters()

    def _averaged(self, *inputs: Tensor) -> Any:
        """The U-Net with its weights' moving average."""
        return torch.func.functional_call(self.module, dict(self._average), inputs)

    def _x0(self, unet: Any, sample: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """Return the consistency function of x_t [B,C,h,w]: x0 as it is predicted, x_t itself at t = 0."""
        predicted = unet(sample, timesteps, context).sample.float()
        noise = predicted_noise(self._scheduler, sample, predicted, timesteps)
        skip, out = boundary_scalings(timesteps)
        return skip * sample + out * predicted_x0(self._scheduler, sample, noise, timesteps)

    def preview(self) -> NDArray[np.uint8]:
        """Two images of each prompt as the student makes them from noise, a row each."""
        with native_autocast(self._device, self.config.half_precision):
            return preview_sheet(
                unet=self.module,
                vae=self._models.vae,
                scheduler=self._scheduler,
                contexts=self._contexts,
                unconditional=self._unconditional,
                geometry=self._models.geometry,
                solver=lcm_scheduler(self._scheduler.config, self._student_steps),
            )

    def result(self, fingerprint: str) -> FineTuned:
        """The models with the student in the U-Net's place, to be called once, after training."""
        unet: Any = self.module
        self._average = {}
        if self.config.gradient_checkpointing:
            unet.disable_gradient_checkpointing()
        unet.to(memory_format=torch.contiguous_format)
        self._models.unet.to("cpu", memory_format=torch.contiguous_format)
        if self.config.lora_rank:
            unet = merged(self._models.unet, unet)
        models = replace(self._models, unet=unet.requires_grad_(False).eval(), vae=self._models.vae.to("cpu"))
        return FineTuned(models=models, prompts=self._tuned.prompts, fingerprint=fingerprint)
