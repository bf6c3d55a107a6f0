"""Distills the VAE decoder's features that the mask head reads into a small decoder of the head's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.diffusion.examples import Examples
from seas_train.diffusion.taps import decode_taps
from seas_train.methods.seas.mask_head.config import Decoder, MaskHeadConfig
from seas_train.methods.seas.mask_head.latents import Reading
from seas_train.methods.seas.mask_head.network.small_decoder import SmallDecoder
from seas_train.methods.seas.prompts import FineTuned
from seas_train.methods.seas.taps import TapGeometry
from seas_train.training.precision import computes_bfloat16, native_autocast
from seas_train.training.random import StepRandom, first_weights
from seas_train.training.stage import Batch, Stage

_INITIAL = "mask_decoder_initial"
_OWN = (
    "decoder_steps",
    "decoder_learning_rate",
    "decoder_width",
    "defect_images",
    "normal_images",
    "half_precision",
    "optimizer",
)
"""Options of stage 2 that a small decoder follows from."""


class Imitation(nn.Module):
    """A small decoder, and a 1x1 convolution a tap that lifts its features to the VAE's channels.

    Only training needs the convolutions (Romero et al. 2015, FitNets): the head reads the features before.
    """

    def __init__(self, decoder: SmallDecoder, small: tuple[int, ...], whole: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder = decoder
        self.lifts = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(small, whole, strict=True))

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Return [B,V,2h,2w], [B,V,4h,4w] and [B,V,8h,8w] of unscaled latents, with the VAE's channels."""
        made = self.decoder(latents)
        return [lift(features) for lift, features in zip(self.lifts, made, strict=True)]


class DecoderStage(Stage):
    """The small decoder's training.

    Args:
        tuned: stage 1's result, of which the VAE is imitated.
        examples: the product's training images, whose latents it learns from, noised as masks are read.
        config: stage 2's configuration.
        seed: what its first weights follow from.
        reading: where generation reads masks.
    """

    name: ClassVar[str] = "mask_decoder"

    def __init__(
        self, tuned: FineTuned, examples: Examples, config: MaskHeadConfig, seed: int, reading: Reading
    ) -> None:
        self.config, self.optimizer, self.steps = config, config.optimizer, config.decoder_steps
        self._tuned, self._vae, self._examples = tuned, tuned.models.vae, examples
        self._levels = torch.tensor((0,) if reading.of_x0 else reading.timesteps)
        self._device = torch.device("cpu")
        taps = TapGeometry.of(tuned.models.unet, self._vae)
        channels = config.architecture(taps, tuned.models.geometry.latent_channels).vae_tap_channels
        with first_weights(seed, _INITIAL):
            decoder = SmallDecoder(tuned.models.geometry.latent_channels, channels)
            module = Imitation(decoder, channels, taps.vae)
        self.module: Imitation = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def decoder(self) -> SmallDecoder:
        """What is trained, on the CPU."""
        return self.module.decoder.to("cpu").eval()

    def identity(self) -> dict[str, Any]:
        """Its part of the configuration, stage 1, where masks are read, and native bfloat16."""
        values = self.config.to_dict()
        return {
            "config": {key: values[key] for key in _OWN},
            "finetune": self._tuned.fingerprint,
            "timesteps": self._levels.tolist(),
            "native_bfloat16": self.config.half_precision and computes_bfloat16(),
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group."""
        return [{"params": list(self.module.parameters()), "lr": self.config.decoder_learning_rate}]

    def prepare(self, device: torch.device, *, progress: bool) -> None:
        """Move the VAE to the device and encode the images."""
        self._device = device
        self._vae.to(device).eval().requires_grad_(False)
        self._examples.use(self._vae)
        self._examples.encode_all(progress=progress)

    def draw(self, random: StepRandom) -> Batch:
        """Latents of defect and normal images with random augmentation and the noise of a mask's step."""
        some, config = self._examples, self.config
        examples, choices = some.draw(some.defects, config.defect_images, random.numpy)
        others, turned = some.draw(some.normals, config.normal_images, random.numpy)
        examples, choices = [*examples, *others], [*choices, *turned]
        latents = some.latents(examples, choices, random.torch)
        noise = torch.randn(latents.shape, generator=random.torch)
        levels = self._levels[torch.randint(len(self._levels), (len(examples),), generator=random.torch)]
        noised = self._tuned.models.scheduler.add_noise(latents, noise, levels)
        return Batch({"latents": noised}, tuple(str(example.image) for example in examples))

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over taps of the squared error, in parts of the VAE's features' variance."""
        latents = tensors["latents"] / self._vae.config.scaling_factor
        with native_autocast(self._device, self.config.half_precision):
            with torch.no_grad():
                wanted = decode_taps(self._vae, latents)
            found = model(latents)
        terms = [
            functional.mse_loss(one.float(), other.float()) / other.float().var()
            for one, other in zip(found, wanted, strict=True)
        ]
        return {"loss": torch.stack(terms).mean()}


def small_decoder(
    tuned: FineTuned,
    examples: Examples,
    config: MaskHeadConfig,
    seed: int,
    reading: Reading,
    run: Callable[[Stage], Any],
) -> tuple[SmallDecoder | None, dict[str, Any]]:
    """Return what the head reads features of, trained by `run`, and its losses by the stage's name.

    None and nothing where the configuration has the VAE read.
    """
    if config.decoder is Decoder.WHOLE:
        return None, {}
    stage = DecoderStage(tuned, examples, config, seed, reading)
    losses = run(stage)
    return stage.decoder, {stage.name: losses}
