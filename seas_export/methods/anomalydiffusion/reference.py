"""AnomalyDiffusion in PyTorch: inputs of its graphs, each graph once more, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seas_export.methods.anomalydiffusion.parts import (
    AUTHORS_WEIGHTS,
    LOGITS,
    PAPER_WEIGHTS,
    ROWS,
    UNET_REWEIGHTED,
    placeholder_columns,
)
from seas_export.methods.anomalydiffusion.reweighting import AuthorsWeights, PaperWeights, ReweightedUNet
from seas_export.methods.inpainting import reference
from seas_export.methods.inpainting.reference import InpaintingLoop, Known
from seas_export.methods.seas.expected import reference_module as shared_module
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import STEP_UNGUIDED, Manifest
from seas_runtime.methods.anomalydiffusion.method import CONTEXT, SHAPE, TOKENS
from seas_runtime.methods.anomalydiffusion.options import (
    AUTHORS,
    PAPER,
    REWEIGHT,
    STEP_AUTHORS,
    STEP_PAPER,
)
from seas_runtime.methods.anomalydiffusion.reweighting import LOOK, PHOTOGRAPH, PIXEL_MASK, grown, growth
from seas_runtime.methods.blending.inputs import covered_mask
from seas_runtime.methods.request import PlacedInputs
from seas_train import Checkpoint
from seas_train.diffusion.taps import decode_pixels
from seas_train.methods.anomalydiffusion.model import anomaly_tokens, context_model, contexts


def make_inputs(
    checkpoint: Checkpoint, schedule: Schedule, seed: int, batch: int
) -> dict[str, dict[str, Array]]:
    """Return inputs of each graph as they occur in generation."""
    feeds = reference.make_inputs(checkpoint, schedule, seed, batch, list(contexts(checkpoint).values()))
    random = np.random.default_rng([seed, 1])
    geometry = checkpoint.geometry
    side, size = geometry.image_size, geometry.latent_size
    tokens = list(anomaly_tokens(checkpoint).values())
    mask = np.zeros((batch, 1, side, side), np.float32)
    mask[..., side // 4 : side // 2, side // 3 : side - side // 4] = 1
    cells = np.stack([covered_mask(item[0] > 0, (size, size)) for item in mask])[:, None]
    photograph = feeds["vae_encoder"]["image"].astype(np.float32)
    step = feeds[STEP_UNGUIDED]
    unet = feeds["unet"]
    weights = (1 + 0.5 * random.random((batch, 1, size, size))).astype(np.float32)
    # 1 / d takes rounding to whole weights where an estimate is nearly the photograph, as `previous_x0`
    # would be of its own: these are well apart
    decoded, photograph = (
        photograph,
        (photograph + random.uniform(0.5, 1.5, photograph.shape)).astype(np.float32),
    )
    return {
        **feeds,
        CONTEXT: {
            TOKENS: np.stack([np.asarray(tokens[row % len(tokens)]) for row in range(batch)]),
            SHAPE: mask,
        },
        UNET_REWEIGHTED: {**unet, LOGITS: weights, ROWS: weights[::-1].copy()},
        AUTHORS_WEIGHTS: {"latents": step["latents"], "noised": step["background"], LOOK: cells},
        PAPER_WEIGHTS: {
            "decoded": decoded,
            PHOTOGRAPH: photograph,
            PIXEL_MASK: mask,
            "step_index": step["step_index"],
        },
        STEP_AUTHORS: {**step, LOOK: grown(cells, 1)},
        STEP_PAPER: {**step, PHOTOGRAPH: photograph, PIXEL_MASK: mask},
    }


def reference_module(name: str, checkpoint: Checkpoint) -> Callable[..., Any]:
    """Return what a graph is in PyTorch; re-weighted attention by its maps, not as the graph has it."""
    if name == CONTEXT:
        return context_model(checkpoint)
    if name == UNET_REWEIGHTED:
        return ReweightedUNet(checkpoint.unet, placeholder_columns(checkpoint), plain=True).eval()
    if name == AUTHORS_WEIGHTS:
        return AuthorsWeights()
    if name == PAPER_WEIGHTS:
        return PaperWeights(checkpoint.geometry.latent_factor)
    if name in (STEP_AUTHORS, STEP_PAPER):
        return _ReweightedStep(checkpoint, name)
    return shared_module(name, checkpoint)


class _ReweightedStep(nn.Module):
    """A re-weighted step, written again."""

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        super().__init__()
        self._checkpoint, self._name = checkpoint, name
        self._unet = ReweightedUNet(checkpoint.unet, placeholder_columns(checkpoint), plain=True).eval()

    def forward(
        self,
        latents: Tensor,
        previous_x0: Tensor,
        schedule: Tensor,
        step_index: Tensor,
        context: Tensor,
        noise: Tensor,
        mask: Tensor,
        background: Tensor,
        blend_noise: Tensor,
        **looked: Tensor,
    ) -> tuple[Tensor, ...]:
        timestep, s, p, q, a, b, c, d, r, n = schedule[step_index[0]]
        noised = r * background + n * blend_noise
        blended = torch.lerp(noised, latents, mask)
        ones = torch.ones_like(mask)
        if self._name == STEP_AUTHORS:
            logits, rows = AuthorsWeights()(latents, noised, looked[LOOK]), ones
        else:
            scaling = self._checkpoint.geometry.scaling_factor
            decoded = decode_pixels(self._checkpoint.vae, previous_x0 / scaling)[0]
            paper = PaperWeights(self._checkpoint.geometry.latent_factor)
            logits, rows = ones, paper(decoded, looked[PHOTOGRAPH], looked[PIXEL_MASK], step_index)
        eps, tap_coarse, tap_fine = self._unet(s * blended, timestep, context, logits, rows)
        x0 = p * blended + q * eps
        following = a * blended + b * x0 + c * previous_x0 + d * noise
        return following, x0, tap_coarse, tap_fine, blended


def reference_loop(checkpoint: Checkpoint, schedule: Schedule, manifest: Manifest) -> InpaintingLoop:
    """Return the loop in PyTorch, re-weighted as the bundle says."""
    model, tokens, geometry = context_model(checkpoint), anomaly_tokens(checkpoint), checkpoint.geometry
    side = geometry.image_size

    def of(defect: str, count: int, placed: Sequence[PlacedInputs]) -> Tensor:
        masks = torch.ones(count, 1, side, side)
        if placed:
            masks = torch.from_numpy(np.stack([item.mask for item in placed]))[:, None].float()
        made: Tensor = model(tokens[defect].expand(count, -1, -1), masks)
        return made

    how = manifest.generation[REWEIGHT] if manifest.sampler.guidance == 1 else None
    if how not in (AUTHORS, PAPER):
        return InpaintingLoop(checkpoint, schedule, manifest, of)
    unet = ReweightedUNet(checkpoint.unet, placeholder_columns(checkpoint), plain=True).eval()
    size = geometry.latent_size

    def predict(latents: Tensor, timestep: Tensor, context: Tensor, known: Known) -> Tensor:
        masks = np.ones((len(latents), side, side), np.bool_)
        windows = np.zeros((len(latents), side, side, 3), np.uint8)
        if known.placed:
            masks = np.stack([item.mask for item in known.placed])
            windows = np.stack([item.window for item in known.placed])
        ones = torch.ones(len(latents), 1, size, size)
        if how == AUTHORS:
            cells = np.stack([covered_mask(mask, (size, size)) for mask in masks])[:, None]
            look = torch.from_numpy(grown(cells, growth(float(timestep), size)))
            logits, rows = AuthorsWeights()(known.before, known.noised, look), ones
        else:
            decoded = decode_pixels(checkpoint.vae, known.x0 / geometry.scaling_factor)[0]
            photograph = torch.from_numpy(windows).permute(0, 3, 1, 2).float() / 127.5 - 1
            pixel_mask = torch.from_numpy(masks)[:, None].float()
            index = torch.tensor([known.step])
            paper = PaperWeights(geometry.latent_factor)
            logits, rows = ones, paper(decoded, photograph, pixel_mask, index)
        eps: Tensor = unet(latents, timestep, context, logits, rows)[0]
        return eps

    return InpaintingLoop(checkpoint, schedule, manifest, of, predict)
