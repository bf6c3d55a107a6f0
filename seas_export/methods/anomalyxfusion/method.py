"""AnomalyXFusion, as export asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seas_engines.precision.evaluator import Case
from seas_export.extras import Extras
from seas_export.graphs.schedules import DDIM
from seas_export.graphs.trace import TEXT_ENCODER, UNET, VAE_DECODER, VAE_ENCODER
from seas_export.methods.anomalyxfusion.parts import FUSION, PARTS, TIME, compose, make_parts, with_tokens
from seas_export.methods.contract import ExportMethod, Reference
from seas_export.methods.inpainting import reference
from seas_export.methods.inpainting.reference import InpaintingLoop, Known
from seas_export.methods.inpainting.tables import base_generation, base_tables
from seas_export.methods.seas.expected import make_placed
from seas_export.methods.seas.expected import reference_module as shared_module
from seas_export.methods.seas.tokenizer import tokenizer_table
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import (
    DECODE_IMAGE,
    ENCODE_IMAGE,
    STEP,
    STEP_UNGUIDED,
    TOKENIZER,
    UNCONDITIONAL,
    Manifest,
)
from seas_runtime.methods.anomalyxfusion.method import (
    CONTEXT,
    CONTEXTS,
    SENTENCE,
    SENTENCES,
    SHAPE,
    TEXTURES,
    TIMESTEPS,
)
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS
from seas_runtime.methods.contract import Content, Inputs
from seas_runtime.methods.request import PlacedInputs
from seas_train import Checkpoint
from seas_train.diffusion.prompt_encoding import tokenize
from seas_train.methods.anomalyxfusion.model import networks, sentences, textures

STEPS = 50
"""Ours: the paper does not say."""


def _context(checkpoint: Checkpoint, defect: str) -> Tensor:
    """Return the context [1, T, D] of a defect with a mask in the middle, at the last step's noise."""
    fusion, time = networks(checkpoint)
    size = checkpoint.geometry.image_size
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 3 : size - size // 3, size // 3 : size - size // 3] = 1
    with torch.inference_mode():
        fused = fusion(sentences(checkpoint)[defect][None], textures(checkpoint)[defect][None], mask)
        made: Tensor = time(fused, torch.zeros(1))
    return made


def tables(checkpoint: Checkpoint, extras: Extras) -> dict[str, dict[str, Array]]:
    """Return sentences' features, textures, the tokenizer, and what placed pairs need."""
    empty = {UNCONDITIONAL: checkpoint.context("")[0]}
    made = base_tables(checkpoint, empty, lambda defect: _context(checkpoint, defect))
    made[SENTENCES] = {name: value.contiguous().numpy() for name, value in sentences(checkpoint).items()}
    made[TEXTURES] = {name: value.contiguous().numpy() for name, value in textures(checkpoint).items()}
    made[TOKENIZER] = tokenizer_table(checkpoint.tokenizer, checkpoint.geometry.context_length)
    return made


def part_cases(checkpoint: Checkpoint) -> dict[str, list[Case]]:
    """Return inputs of the part that generation runs for captions alone: the sentences."""
    words = list(checkpoint.prompts.values())
    ids = tokenize(checkpoint.tokenizer, words, checkpoint.geometry.context_length)
    return {TEXT_ENCODER: [Case("sentences", {"input_ids": ids.numpy()})]}


def make_inputs(
    checkpoint: Checkpoint, schedule: Schedule, seed: int, batch: int
) -> dict[str, dict[str, Array]]:
    """Return inputs of each graph as they occur in generation."""
    geometry = checkpoint.geometry
    names = [checkpoint.defects[row % len(checkpoint.defects)] for row in range(batch)]
    words, patterns = sentences(checkpoint), textures(checkpoint)
    side = geometry.image_size
    mask = np.zeros((batch, 1, side, side), np.float32)
    mask[..., side // 4 : side // 2, side // 3 : side - side // 4] = 1
    fusion, time = networks(checkpoint)
    given = {
        SENTENCE: np.stack([np.asarray(words[name]) for name in names]),
        TEXTURES: np.stack([np.asarray(patterns[name]) for name in names]),
        SHAPE: mask,
    }
    times = schedule.table[:, 0]
    with torch.inference_mode():
        fused = fusion(*(torch.from_numpy(value) for value in given.values()))
        contexts = torch.stack([time(fused, torch.full((batch,), float(t))) for t in times])
    feeds = reference.make_inputs(checkpoint, schedule, seed, batch, [contexts[len(times) // 2, 0]])
    steps = {
        name: {key: value for key, value in feeds[name].items() if key not in ("context", "noise")}
        for name in (STEP, STEP_UNGUIDED)
    }
    empty = steps[STEP]["negative_context"][:, : fused.shape[1]]
    ids = tokenize(
        checkpoint.tokenizer, [checkpoint.prompts[name] for name in names], geometry.context_length
    )
    return {
        **{name: feeds[name] for name in (UNET, VAE_ENCODER, VAE_DECODER, DECODE_IMAGE, ENCODE_IMAGE)},
        TEXT_ENCODER: {"input_ids": ids.numpy()},
        FUSION: given,
        TIME: {"fused": fused.numpy(), TIMESTEPS: np.resize(times, batch).astype(np.float32)},
        CONTEXT: {**given, TIMESTEPS: times},
        STEP: {**steps[STEP], CONTEXTS: contexts.numpy(), "negative_context": empty},
        STEP_UNGUIDED: {**steps[STEP_UNGUIDED], CONTEXTS: contexts.numpy()},
    }


class _Contexts(nn.Module):
    """The graph `context`, written again: a step after the other."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._fusion, self._time = networks(checkpoint)

    def forward(self, sentence: Tensor, textures: Tensor, pixel_mask: Tensor, timesteps: Tensor) -> Tensor:
        fused = self._fusion(sentence, textures, pixel_mask)
        return torch.stack([self._time(fused, time.expand(len(fused))) for time in timesteps])


def reference_module(name: str, checkpoint: Checkpoint) -> Callable[..., Any]:
    """Return what a graph is in PyTorch."""
    fusion, time = networks(checkpoint)
    if name == FUSION:
        return fusion
    if name == TIME:
        return time
    if name == CONTEXT:
        return _Contexts(checkpoint)
    if name in (STEP, STEP_UNGUIDED):
        plain = shared_module(name, checkpoint)

        def step(*, contexts: Tensor, step_index: Tensor, **given: Tensor) -> Any:
            return plain(context=contexts[step_index[0]], step_index=step_index, **given)

        return step
    return shared_module(name, with_tokens(checkpoint) if name == UNET else checkpoint)


def reference_loop(checkpoint: Checkpoint, schedule: Schedule, manifest: Manifest) -> InpaintingLoop:
    """Return the loop in PyTorch, which lifts the fused tokens to each step's time."""
    fusion, time = networks(checkpoint)
    words, patterns, side = sentences(checkpoint), textures(checkpoint), checkpoint.geometry.image_size

    def of(defect: str, count: int, placed: Sequence[PlacedInputs]) -> Tensor:
        masks = torch.ones(count, 1, side, side)
        if placed:
            masks = torch.from_numpy(np.stack([item.mask for item in placed]))[:, None].float()
        made: Tensor = fusion(words[defect].expand(count, -1), patterns[defect].expand(count, -1, -1), masks)
        return made

    def predict(latents: Tensor, timestep: Tensor, fused: Tensor, known: Known) -> Tensor:
        contexts = time(fused, timestep.expand(len(fused)))
        eps: Tensor = checkpoint.unet(latents, timestep, contexts).sample
        return eps

    return InpaintingLoop(checkpoint, schedule, manifest, of, predict)


def with_prompt(content: Content, inputs: Inputs, name: str) -> Inputs:
    """Return inputs with the sentence and texture of another defect, or of `good`."""
    count = len(inputs.origins)
    return replace(
        inputs,
        values={
            **inputs.values,
            SENTENCE: np.stack([content.tables[SENTENCES][name]] * count),
            TEXTURES: np.stack([content.tables[TEXTURES][name]] * count),
        },
    )


METHOD = ExportMethod(
    name="anomalyxfusion",
    part_names=PARTS,
    parts=make_parts,
    compose=compose,
    tables=tables,
    generation=lambda checkpoint, extras: base_generation(checkpoint),
    fewest_steps=1,
    blend=True,
    half_tables=(EMBEDDINGS,),
    half_values=frozenset({"context", "negative_context", CONTEXTS, "tap_coarse", "tap_fine"}),
    inner_values=frozenset(),
    part_cases=part_cases,
    sampler=DDIM,
    steps=STEPS,
    reference=Reference(make_inputs, reference_module, reference_loop, make_placed),
    with_prompt=with_prompt,
)
