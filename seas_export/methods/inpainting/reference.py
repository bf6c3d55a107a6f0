"""Such a method in PyTorch: inputs of its graphs, and the loop with diffusers' own scheduler."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seas_export.graphs.schedules import DDIM_ETA1, make_scheduler
from seas_export.graphs.trace import UNET, VAE_DECODER, VAE_ENCODER
from seas_export.methods.contract import ReferencePair
from seas_export.methods.seas.drawn import Drawn
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import DECODE_IMAGE, ENCODE_IMAGE, STEP, STEP_UNGUIDED, Manifest
from seas_runtime.methods.blending.inputs import BACKGROUND, BLEND_NOISE, MASK, STRENGTH, covered_mask
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PlacedInputs
from seas_train import Checkpoint
from seas_train.diffusion.solver import SolverRules
from seas_train.diffusion.taps import decode_image, decode_pixels, to_uint8

Contexts = Callable[[str, int, Sequence[PlacedInputs]], Tensor]
"""Contexts [B, L, D] of so many pairs of a defect, drawn into what is given; into nothing where they are
whole pictures."""
Predict = Callable[..., Tensor]
"""eps [B, C, h, w] of latents, timestep, contexts, and what the step knows besides; see `Known`."""


@dataclass(frozen=True)
class Known:
    """What a step knows besides its latents."""

    step: int
    timestep: Tensor
    before: Tensor
    """Its latents as they came, not blended."""
    noised: Tensor
    """The background, noised as far."""
    x0: Tensor
    """The estimate of the step before; zeros in the first."""
    placed: Sequence[PlacedInputs]


def make_inputs(
    checkpoint: Checkpoint, schedule: Schedule, seed: int, batch: int, contexts: Sequence[Tensor]
) -> dict[str, dict[str, Array]]:
    """Return inputs of each graph as they occur in generation.

    contexts: some that occur, [L, D] each, taken in turn.
    """
    geometry = checkpoint.geometry
    random = np.random.default_rng(seed)
    chosen = torch.from_numpy(random.integers(len(checkpoint.references), size=batch))
    references = checkpoint.references[chosen]
    scaled = references * geometry.scaling_factor
    index = schedule.steps // 2
    timestep = float(schedule.table[index, 0])
    noise = torch.from_numpy(random.standard_normal(scaled.shape).astype(np.float32))
    kept = checkpoint.scheduler.alphas_cumprod[round(timestep)]
    latents = kept.sqrt() * scaled + (1 - kept).sqrt() * noise
    context = torch.stack([contexts[row % len(contexts)] for row in range(batch)])
    with torch.inference_mode():
        pixels = decode_pixels(checkpoint.vae, references)[0].clamp(-1, 1)
        empty = checkpoint.context("")
    step: dict[str, Tensor | Array] = {
        "latents": latents,
        "previous_x0": scaled,
        "schedule": schedule.table,
        "step_index": np.array([index]),
        "context": context,
        "noise": random.standard_normal(scaled.shape).astype(np.float32),
        MASK: (random.random((batch, 1, *scaled.shape[2:])) < 0.5).astype(np.float32),
        BACKGROUND: scaled.flip(0, -1),
        BLEND_NOISE: random.standard_normal(scaled.shape).astype(np.float32),
    }
    guidance = np.array([checkpoint.meta["generation"]["guidance"]])
    feeds: dict[str, dict[str, Tensor | Array]] = {
        UNET: {"latents": latents, "timestep": torch.tensor([timestep]), "context": context},
        VAE_ENCODER: {"image": pixels},
        VAE_DECODER: {"latents": references},
        STEP: {**step, "guidance": guidance, "negative_context": empty},
        STEP_UNGUIDED: step,
        DECODE_IMAGE: {"latents": scaled},
        ENCODE_IMAGE: {"image": to_uint8(pixels)},
    }
    return {graph: {name: np.asarray(value) for name, value in feed.items()} for graph, feed in feeds.items()}


class InpaintingLoop:
    """Draws pairs into windows: noise in the mask, the background noised anew around it before each step.

    Args:
        checkpoint: whose frozen base runs.
        schedule: sampler and steps.
        manifest: of the bundle: schema, guidance, strength.
        contexts: of a method.
        predict: in place of the plain U-Net, where a method changes its attention.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        schedule: Schedule,
        manifest: Manifest,
        contexts: Contexts,
        predict: Predict | None = None,
    ) -> None:
        self.checkpoint, self._contexts = checkpoint, contexts
        self._schedule, self._manifest = schedule, manifest
        self._predict = predict or self._plain

    def generate(
        self,
        defect: str,
        count: int,
        seed: int = 0,
        *,
        batch: int = 1,
        placed: Sequence[PlacedInputs] = (),
    ) -> Iterator[ReferencePair]:
        """Yield pairs 0 to `count` - 1; see `Loop`."""
        for first in range(0, count, batch):
            indices = range(first, min(first + batch, count))
            began = time.perf_counter()
            with torch.inference_mode():
                latents = self._run(defect, indices, seed, placed[first : first + batch])
                images = to_uint8(decode_image(self.checkpoint.vae, latents)).numpy()
            seconds = (time.perf_counter() - began) / len(indices)
            for row, index in enumerate(indices):
                mask = self._mask(placed[index] if placed else None)
                yield ReferencePair(images[row], mask, None, latents[row].numpy(), seconds)

    def _run(self, defect: str, indices: Sequence[int], seed: int, placed: Sequence[PlacedInputs]) -> Tensor:
        checkpoint, geometry = self.checkpoint, self.checkpoint.geometry
        shape = (geometry.latent_channels, geometry.latent_size, geometry.latent_size)
        noises = [PairNoise(seed, index, 0, defect, self._manifest.schema) for index in indices]
        sampler, steps = self._schedule.sampler, self._schedule.steps
        rules = SolverRules.of(checkpoint.meta["generation"])
        solver = make_scheduler(sampler, checkpoint.scheduler.config, steps, rules)
        latents = torch.from_numpy(np.stack([noise.normal(Stream.START, shape) for noise in noises]))
        contexts, guidance = self._contexts(defect, len(indices), placed), self._manifest.sampler.guidance
        strength = self._manifest.generation.get(STRENGTH, 1.0) if placed else 1.0
        first = steps - math.ceil(round(strength * steps, 6))
        whole, drawn = first if strength < 1 else None, None
        if placed:
            drawn = Drawn(checkpoint, placed, noises, True, whole, covered=True)
        empty = None
        if guidance != 1:
            empty = checkpoint.context("")[:, : contexts.shape[1]].expand_as(contexts)
        x0 = torch.zeros_like(latents)
        for step, timestep in list(enumerate(solver.timesteps))[first:]:
            before, noised = latents, torch.zeros_like(latents)
            if drawn is not None:
                noised = drawn.noised(solver.timesteps, step)
                latents = drawn.before(solver.timesteps, step, latents)
            known = Known(step - first, timestep, before, noised, x0, placed)
            eps = self._predict(latents, timestep, contexts, known)
            if empty is not None:
                unconditional = self._plain(latents, timestep, empty, known)
                eps = unconditional + guidance * (eps - unconditional)
            added: dict[str, Any] = {}
            if sampler == DDIM_ETA1:
                fresh = np.stack([noise.normal(Stream.STEP, shape, step) for noise in noises])
                added = {"eta": 1.0, "variance_noise": torch.from_numpy(fresh)}
            made = solver.step(eps, timestep, latents, **added)
            latents, x0 = made.prev_sample, made.pred_original_sample
        return latents

    def _plain(self, latents: Tensor, timestep: Tensor, contexts: Tensor, known: Known) -> Tensor:
        eps: Tensor = self.checkpoint.unet(latents, timestep, contexts).sample
        return eps

    def _mask(self, placed: PlacedInputs | None) -> Any:
        geometry = self.checkpoint.geometry
        if placed is None:
            return np.full((geometry.image_size, geometry.image_size), 255, np.uint8)
        cells = covered_mask(placed.mask, (geometry.latent_size, geometry.latent_size))
        factor = geometry.latent_factor
        return (cells.repeat(factor, axis=0).repeat(factor, axis=1) * 255).astype(np.uint8)
