"""SeaS, as export asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from seas_engines.precision.evaluator import Case
from seas_export.extras import NONE, Extras
from seas_export.graphs.trace import TEXT_ENCODER
from seas_export.methods.contract import ExportMethod, Reference
from seas_export.methods.seas.compose import compose
from seas_export.methods.seas.expected import make_inputs, make_placed, reference_module
from seas_export.methods.seas.parts import PART_NAMES, VAE_TAPS, make_parts
from seas_export.methods.seas.real_windows import feature_table, placed_generation
from seas_export.methods.seas.reference import ReferenceLoop
from seas_export.methods.seas.tokenizer import tokenizer_table
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import TOKENIZER, UNCONDITIONAL, Manifest
from seas_runtime.methods.blending.inputs import BLEND, FIXED, FRESH, STRENGTH
from seas_runtime.methods.contract import Content, Inputs
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.methods.seas import (
    ADD_NOISE_STEP,
    EMBEDDINGS,
    MASK_STEPS,
    REFERENCES,
    RULES,
    SPECK,
    START_TIMESTEPS,
    follows,
)
from seas_runtime.methods.seas_options import RESCALE
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT
from seas_train import Checkpoint
from seas_train.data import Product
from seas_train.diffusion.prompt_encoding import tokenize
from seas_train.methods.seas.mask_head.evaluation import evaluate_masks
from seas_train.methods.seas.mask_head.latents import Reading


def tables(checkpoint: Checkpoint, extras: Extras = NONE) -> dict[str, dict[str, Array]]:
    """Return a context [L, D] for each prompt, the references, the tokenizer where it is asked for, and what
    placed pairs need, where the checkpoint brings it: shapes, and features of real windows."""
    prompts = {**checkpoint.prompts, UNCONDITIONAL: ""}
    with torch.inference_mode():
        contexts = {key: checkpoint.context(prompt)[0].numpy() for key, prompt in prompts.items()}
    made = {EMBEDDINGS: contexts, REFERENCES: {"latents": checkpoint.references.numpy()}}
    if extras.own_prompts:
        made[TOKENIZER] = tokenizer_table(checkpoint.tokenizer, checkpoint.geometry.context_length)
    if checkpoint.placement is not None and checkpoint.placement.shapes:
        made[PLACEMENT] = dict(checkpoint.placement.table)
    if real := feature_table(checkpoint):
        made[FEATURES] = real
    return made


def generation(checkpoint: Checkpoint, extras: Extras = NONE) -> dict[str, Any]:
    """Return how many last steps give a mask, where it is cut, the rules that are not ours, extras, and the
    bounds of placed pairs' gates."""
    settings = checkpoint.meta["generation"]
    rules = {key: value for key, value in RULES.items() if follows(settings, key)}
    made: dict[str, Any] = {
        "mask_steps": int(settings.get("mask_steps", MASK_STEPS)),
        "tau": float(settings["tau"]),
        BLEND: FIXED,
        **rules,
    }
    if settings.get(SPECK):
        made[SPECK] = int(settings[SPECK])
    if settings.get(STRENGTH, 1.0) != 1:
        made[STRENGTH] = float(settings[STRENGTH])
    if extras.guidance_rescale is not None:
        made[RESCALE] = float(extras.guidance_rescale)
    if extras.add_noise_step != START_TIMESTEPS:
        made[ADD_NOISE_STEP] = extras.add_noise_step
    return {**made, **placed_generation(checkpoint)}


def part_cases(checkpoint: Checkpoint) -> dict[str, list[Case]]:
    """Return inputs of the part that generation does not run: its prompts."""
    prompts = [*checkpoint.prompts.values(), ""]
    ids = tokenize(checkpoint.tokenizer, prompts, checkpoint.geometry.context_length)
    return {TEXT_ENCODER: [Case("prompts", {"input_ids": ids.numpy()})]}


def reference_loop(checkpoint: Checkpoint, schedule: Schedule, manifest: Manifest) -> ReferenceLoop:
    """Return the loop in PyTorch that makes the pairs of a bundle's schema."""
    mask_steps = manifest.generation["mask_steps"]
    return ReferenceLoop(
        checkpoint,
        schedule.steps,
        schedule.sampler,
        mask_steps,
        schema=manifest.schema,
        rescale=manifest.generation.get(RESCALE, 0.0),
        add_noise_step=manifest.generation.get(ADD_NOISE_STEP, START_TIMESTEPS),
        fresh_blend=manifest.generation.get(BLEND) == FRESH,
        strength=manifest.generation.get(STRENGTH, 1.0),
    )


def mask_scores(
    checkpoint: Checkpoint, product: Product, *, tau: float | None, seed: int, pairs: int, normals: int
) -> dict[str, Any]:
    """Return the mask head's scores, in bfloat16 where the head was trained so and this CPU computes it."""
    trained = checkpoint.meta.get("training", {}).get("mask_head", {})
    scores = evaluate_masks(
        checkpoint,
        checkpoint.artifacts["mask_head"],
        checkpoint.prompts,
        product,
        tau=checkpoint.meta["generation"]["tau"] if tau is None else tau,
        seed=seed,
        limit=pairs,
        normals=normals,
        speck=checkpoint.meta["generation"].get(SPECK, 0),
        half_precision=bool(trained.get("half_precision", False)),
        reading=Reading.of(checkpoint.scheduler, checkpoint.meta["generation"]),
    )
    return scores.to_dict()


def with_prompt(content: Content, inputs: Inputs, name: str) -> Inputs:
    """Return inputs with the context of another prompt."""
    context = content.tables[EMBEDDINGS][name]
    count = len(inputs.origins)
    return replace(inputs, values={**inputs.values, "context": np.stack([context] * count)})


METHOD = ExportMethod(
    name="seas",
    part_names=PART_NAMES,
    parts=make_parts,
    compose=compose,
    tables=tables,
    generation=generation,
    fewest_steps=MASK_STEPS,
    blend=True,
    half_tables=(EMBEDDINGS,),
    half_values=frozenset({"context", "negative_context", "tap_coarse", "tap_fine", *VAE_TAPS}),
    inner_values=frozenset(VAE_TAPS),
    part_cases=part_cases,
    reference=Reference(make_inputs, reference_module, reference_loop, make_placed),
    mask_scores=mask_scores,
    with_prompt=with_prompt,
)
