"""The parts that are traced, in float32: modules with named inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seas_export.graphs.trace import TEXT_ENCODER, UNET, VAE_DECODER, VAE_ENCODER, Part
from seas_train import Checkpoint
from seas_train.diffusion.taps import decode_pixels, unet_with_taps
from seas_train.methods.seas.taps import TapGeometry

MASK_HEAD = "mask_head"
VAE_TAPS = ("vae_tap_2x", "vae_tap_4x", "vae_tap_8x")
"""Outputs of the VAE decoder's first three up-blocks, named by their resolution against the latent's."""
PART_NAMES = (TEXT_ENCODER, UNET, VAE_ENCODER, VAE_DECODER, MASK_HEAD)


def make_parts(checkpoint: Checkpoint, batch: int = 2, names: Sequence[str] = PART_NAMES) -> Iterator[Part]:
    """Yield parts of a checkpoint, which share its modules, with random inputs of `batch` items."""
    for name in names:
        inputs, outputs = _example(name, checkpoint, batch)
        batched = tuple(key for key in inputs if key != "timestep")
        yield Part(name, part_module(name, checkpoint), inputs, outputs, batched)


def part_module(name: str, checkpoint: Checkpoint) -> nn.Module:
    """Return the module of one part, in evaluation mode."""
    wrappers: dict[str, tuple[type[nn.Module], Any]] = {
        TEXT_ENCODER: (TextEncoder, checkpoint.text_encoder),
        UNET: (UNet, checkpoint.unet),
        VAE_ENCODER: (VAEEncoder, checkpoint.vae),
        VAE_DECODER: (VAEDecoder, checkpoint.vae),
        MASK_HEAD: (
            SmallMaskHeadPart if has_small_decoder(checkpoint) else MaskHeadPart,
            checkpoint.artifacts.get(MASK_HEAD),
        ),
    }
    wrapper, module = wrappers[name]
    return wrapper(module).eval()


def has_small_decoder(checkpoint: Checkpoint) -> bool:
    """Whether the mask head reads latents by a decoder of its own; of the VAE's it needs none then."""
    head = checkpoint.artifacts.get(MASK_HEAD)
    return head is not None and head.decoder is not None


def _example(name: str, checkpoint: Checkpoint, batch: int) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return a part's inputs, random, and the names of its outputs."""
    geometry, tokens = checkpoint.geometry, len(checkpoint.tokenizer)
    size, latent = geometry.image_size, geometry.latent_size

    def features(channels: int, side: int) -> Tensor:
        return torch.randn(batch, channels, side, side)

    if name == TEXT_ENCODER:
        return {"input_ids": torch.randint(0, tokens, (batch, geometry.context_length))}, ("context",)
    if name == VAE_ENCODER:
        return {"image": torch.rand(batch, 3, size, size) * 2 - 1}, ("latents",)
    latents = torch.randn(batch, geometry.latent_channels, latent, latent)
    if name == VAE_DECODER:
        return {"latents": latents}, ("image", *VAE_TAPS)
    if name == UNET:
        context = torch.randn(batch, geometry.context_length, geometry.context_width)
        inputs = {"latents": latents, "timestep": torch.tensor([500.0]), "context": context}
        return inputs, ("noise_prediction", "tap_coarse", "tap_fine")
    channels_of = TapGeometry.of(checkpoint.unet, checkpoint.vae)
    taps = {
        "tap_coarse": features(channels_of.coarse, latent // 2),
        "tap_fine": features(channels_of.fine, latent),
    }
    if has_small_decoder(checkpoint):
        return {**taps, "latents": latents}, ("probability",)
    for tap, channels, factor in zip(VAE_TAPS, channels_of.vae, (2, 4, 8), strict=True):
        taps[tap] = features(channels, latent * factor)
    return taps, ("probability",)


class TextEncoder(nn.Module):
    """`input_ids` [B,L] int64 -> context [B,L,D]."""

    def __init__(self, text_encoder: Any) -> None:
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the last hidden state."""
        result: Tensor = self.text_encoder(input_ids)[0]
        return result


class UNet(nn.Module):
    """Scaled latents [B,C,h,w], timestep [1], context [B,L,D] -> noise [B,C,h,w], and the two taps."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, timestep: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the noise."""
        noise, tap_coarse, tap_fine = unet_with_taps(self.unet, latents, timestep, context)
        return noise, tap_coarse, tap_fine


class VAEEncoder(nn.Module):
    """Image [B,3,H,W] in -1..1 -> the posterior's mean, unscaled, [B,C,h,w]."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, image: Tensor) -> Tensor:
        """Return the mean of the latents."""
        moments = self.vae.encoder(image)
        if self.vae.quant_conv is not None:
            moments = self.vae.quant_conv(moments)
        mean: Tensor = moments.chunk(2, dim=1)[0]
        return mean


class VAEDecoder(nn.Module):
    """Unscaled latents [B,C,h,w] -> image [B,3,H,W] in about -1..1, and three taps."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> tuple[Tensor, ...]:
        """Decode."""
        pixels, taps = decode_pixels(self.vae, latents)
        return (pixels, *taps[:3])


class MaskHeadPart(nn.Module):
    """The taps of U-Net and VAE decoder -> probability [B,H,W]."""

    def __init__(self, mask_head: Any) -> None:
        super().__init__()
        self.mask_head = mask_head

    def forward(
        self, tap_coarse: Tensor, tap_fine: Tensor, vae_tap_2x: Tensor, vae_tap_4x: Tensor, vae_tap_8x: Tensor
    ) -> Tensor:
        """Return the probability of a defect in each pixel."""
        return probability(self.mask_head, tap_coarse, tap_fine, (vae_tap_2x, vae_tap_4x, vae_tap_8x))


class SmallMaskHeadPart(nn.Module):
    """The taps of the U-Net, and unscaled latents [B,C,h,w] -> probability [B,H,W]."""

    def __init__(self, mask_head: Any) -> None:
        super().__init__()
        self.mask_head = mask_head

    def forward(self, tap_coarse: Tensor, tap_fine: Tensor, latents: Tensor) -> Tensor:
        """Return the probability of a defect in each pixel."""
        return probability(self.mask_head, tap_coarse, tap_fine, self.mask_head.decode(None, latents))


def probability(mask_head: Any, tap_coarse: Tensor, tap_fine: Tensor, vae_taps: Sequence[Tensor]) -> Tensor:
    """Run the mask head by its stored statistics."""
    refined = mask_head.refine(mask_head.features(tap_coarse, tap_fine), list(vae_taps))
    return torch.softmax(mask_head.logits(refined), dim=1)[:, 1]
