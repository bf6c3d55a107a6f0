"""Every graph of a SeaS bundle in PyTorch, float32, and inputs for it as they occur in generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seas_export.graphs.trace import TEXT_ENCODER, UNET, VAE_DECODER, VAE_ENCODER
from seas_export.methods.seas.parts import MASK_HEAD, VAE_TAPS, has_small_decoder, part_module, probability
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import DECODE_IMAGE, DECODE_MASK, ENCODE_IMAGE, STEP, STEP_UNGUIDED
from seas_runtime.methods.blending.inputs import BACKGROUND, BLEND_NOISE, MASK
from seas_runtime.methods.request import PlacedInputs
from seas_runtime.methods.seas import follows
from seas_runtime.methods.seas_options import RESCALE
from seas_train import Checkpoint
from seas_train.diffusion.prompt_encoding import tokenize
from seas_train.diffusion.sampling import rescaled
from seas_train.diffusion.taps import decode_image, decode_pixels, decode_taps, to_uint8, unet_with_taps


def make_inputs(
    checkpoint: Checkpoint, schedule: Schedule, seed: int, batch: int
) -> dict[str, dict[str, Array]]:
    """Return inputs of each graph as they occur in generation: real prompts, references and features."""
    with torch.inference_mode():
        feeds = _make_tensors(checkpoint, schedule, seed, batch)
    return {graph: {name: np.asarray(value) for name, value in feed.items()} for graph, feed in feeds.items()}


def _make_tensors(
    checkpoint: Checkpoint, schedule: Schedule, seed: int, batch: int
) -> dict[str, dict[str, Tensor | Array]]:
    geometry, unet, vae = checkpoint.geometry, checkpoint.unet, checkpoint.vae
    random = np.random.default_rng(seed)
    chosen = random.integers(len(checkpoint.references), size=batch)
    references = unscaled_references(checkpoint)[torch.from_numpy(chosen)]  # [B,C,h,w]
    scaled = references * geometry.scaling_factor
    index = schedule.steps // 2
    timestep = float(schedule.table[index, 0])
    noise = torch.from_numpy(random.standard_normal(scaled.shape).astype(np.float32))
    kept = checkpoint.scheduler.alphas_cumprod[round(timestep)]
    latents = kept.sqrt() * scaled + (1 - kept).sqrt() * noise  # the forward process at this step
    prompts = [list(checkpoint.prompts.values())[row % len(checkpoint.prompts)] for row in range(batch)]
    context = torch.cat([checkpoint.context(prompt) for prompt in prompts])  # [B,L,D]
    _, tap_coarse, tap_fine = unet_with_taps(unet, latents, torch.tensor(timestep), context)
    ids = tokenize(checkpoint.tokenizer, prompts, geometry.context_length)
    pixels = decode_pixels(vae, references)[0].clamp(-1, 1)
    taps = {"tap_coarse": tap_coarse, "tap_fine": tap_fine}
    step: dict[str, Tensor | Array] = {
        "latents": latents,
        "previous_x0": scaled,
        "schedule": schedule.table,
        "step_index": np.array([index]),
        "context": context,
        # half of the picture is drawn, the rest another one's, noised otherwise
        MASK: (random.random((batch, 1, *scaled.shape[2:])) < 0.5).astype(np.float32),
        BACKGROUND: scaled.flip(0, -1),
        BLEND_NOISE: random.standard_normal(scaled.shape).astype(np.float32),
        "noise": random.standard_normal(scaled.shape).astype(np.float32),  # only where the graph takes it
    }
    return {
        TEXT_ENCODER: {"input_ids": ids},
        UNET: {"latents": latents, "timestep": torch.tensor([timestep]), "context": context},
        VAE_ENCODER: {"image": pixels},
        VAE_DECODER: {"latents": references},
        MASK_HEAD: {**taps, **_decoded(checkpoint, references)},
        STEP: {
            **step,
            "guidance": np.array([checkpoint.meta["generation"]["guidance"]]),
            "negative_context": checkpoint.context(""),
            RESCALE: np.array([0.7]),  # the paper's; only where the graph takes it
        },
        STEP_UNGUIDED: step,
        DECODE_MASK: {"latents": scaled, **taps},
        DECODE_IMAGE: {"latents": scaled},
        ENCODE_IMAGE: {"image": to_uint8(pixels)},
    }


def _decoded(checkpoint: Checkpoint, references: Tensor) -> dict[str, Tensor]:
    """Return what the mask head reads of latents."""
    if has_small_decoder(checkpoint):
        return {"latents": references}
    return dict(zip(VAE_TAPS, decode_taps(checkpoint.vae, references), strict=True))


def make_placed(checkpoint: Checkpoint, seed: int) -> PlacedInputs:
    """Return a normal image of the checkpoint's references, and a rectangle to draw into, by chance."""
    random = np.random.default_rng(seed)
    chosen = int(random.integers(len(checkpoint.references)))
    with torch.inference_mode():
        pixels = decode_pixels(checkpoint.vae, unscaled_references(checkpoint)[chosen : chosen + 1])[0]
    window = np.asarray(to_uint8(pixels)[0])
    side = window.shape[0]
    height, width = random.integers(max(1, side // 16), side // 2, size=2, endpoint=True)
    top, left = random.integers(side - height, endpoint=True), random.integers(side - width, endpoint=True)
    mask = np.zeros((side, side), np.bool_)
    mask[top : top + height, left : left + width] = True
    return PlacedInputs(window, mask)


def unscaled_references(checkpoint: Checkpoint) -> Tensor:
    """Return the references [n,C,h,w] as the VAE gave them, in whichever scale they are stored."""
    if follows(checkpoint.meta["generation"], "references"):
        return checkpoint.references / checkpoint.geometry.scaling_factor
    return checkpoint.references


def reference_module(name: str, checkpoint: Checkpoint) -> Callable[..., Any]:
    """Return what a graph is in PyTorch, float32, taking the graph's inputs by name."""
    composed: dict[str, type[_Composed]] = {
        STEP: _Step,
        STEP_UNGUIDED: _UnguidedStep,
        DECODE_MASK: _DecodeMask,
        DECODE_IMAGE: _DecodeImage,
        ENCODE_IMAGE: _EncodeImage,
    }
    return composed[name](checkpoint) if name in composed else part_module(name, checkpoint)


class _Composed(nn.Module):
    """A composed graph, written again in PyTorch."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._scaling = checkpoint.geometry.scaling_factor


class _Step(_Composed):
    def forward(
        self,
        latents: Tensor,
        previous_x0: Tensor,
        schedule: Tensor,
        step_index: Tensor,
        guidance: Tensor,
        context: Tensor,
        negative_context: Tensor,
        mask: Tensor | None = None,
        background: Tensor | None = None,
        blend_noise: Tensor | None = None,
        guidance_rescale: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        row = schedule[step_index[0]]
        timestep, s, p, q, a, b, c = row[:7]
        blended = _blended(latents, row, mask, background, blend_noise)
        predictions = [
            unet_with_taps(self._checkpoint.unet, s * blended, timestep, text)
            for text in (negative_context.expand_as(context), context)
        ]
        (unconditional, _, _), (conditional, tap_coarse, tap_fine) = predictions
        guided = unconditional + guidance * (conditional - unconditional)
        if guidance_rescale is not None:
            guided = rescaled(guided, conditional, guidance_rescale)
        x0 = p * blended + q * guided
        following = _with_noise(a * blended + b * x0 + c * previous_x0, row, noise)
        made = following, x0, tap_coarse, tap_fine
        return made if mask is None else (*made, blended)


class _UnguidedStep(_Composed):
    def forward(
        self,
        latents: Tensor,
        previous_x0: Tensor,
        schedule: Tensor,
        step_index: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        background: Tensor | None = None,
        blend_noise: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        row = schedule[step_index[0]]
        timestep, s, p, q, a, b, c = row[:7]
        blended = _blended(latents, row, mask, background, blend_noise)
        predicted, tap_coarse, tap_fine = unet_with_taps(
            self._checkpoint.unet, s * blended, timestep, context
        )
        x0 = p * blended + q * predicted
        following = _with_noise(a * blended + b * x0 + c * previous_x0, row, noise)
        made = following, x0, tap_coarse, tap_fine
        return made if mask is None else (*made, blended)


def _with_noise(latents: Tensor, row: Tensor, noise: Tensor | None) -> Tensor:
    """Return latents with the fresh noise of a sampler's step, where the graph takes some."""
    return latents if noise is None else latents + row[7] * noise


def _blended(
    latents: Tensor, row: Tensor, mask: Tensor | None, background: Tensor | None, noise: Tensor | None
) -> Tensor:
    """Return what a step starts from, by the blend of its row of the schedule; bundles may have none."""
    if mask is None or background is None or noise is None:
        return latents
    return torch.lerp(row[8] * background + row[9] * noise, latents, mask)


class _DecodeMask(_Composed):
    def forward(self, latents: Tensor, tap_coarse: Tensor, tap_fine: Tensor) -> Tensor:
        head = self._checkpoint.artifacts[MASK_HEAD]
        vae_taps = head.decode(self._checkpoint.vae, latents / self._scaling)
        return probability(head, tap_coarse, tap_fine, vae_taps)


class _EncodeImage(_Composed):
    def forward(self, image: Tensor) -> Tensor:
        pixels = image.permute(0, 3, 1, 2).float() / 127.5 - 1
        mean: Tensor = self._checkpoint.vae.encode(pixels).latent_dist.mean
        return mean * self._scaling


class _DecodeImage(_Composed):
    def forward(self, latents: Tensor) -> Tensor:
        return to_uint8(decode_image(self._checkpoint.vae, latents))
