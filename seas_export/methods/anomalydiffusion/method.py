"""AnomalyDiffusion, as export asks for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from seas_export.extras import Extras
from seas_export.graphs.schedules import DDIM_ETA1
from seas_export.methods.anomalydiffusion.parts import PARTS, compose, make_parts
from seas_export.methods.anomalydiffusion.reference import make_inputs, reference_loop, reference_module
from seas_export.methods.contract import ExportMethod, Reference
from seas_export.methods.inpainting.tables import base_generation, base_tables
from seas_export.methods.seas.expected import make_placed
from seas_runtime.manifest.schedule import Array
from seas_runtime.methods.anomalydiffusion.masks import MASK_EMBEDDINGS, MASK_SCALE
from seas_runtime.methods.anomalydiffusion.masks import STEPS as MASK_STEPS
from seas_runtime.methods.anomalydiffusion.method import CONTEXT, TOKENS
from seas_runtime.methods.anomalydiffusion.options import AUTHORS, OFF, REWEIGHT
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS
from seas_runtime.methods.contract import Content, Inputs
from seas_runtime.placement.masks.shapes import has_background
from seas_runtime.placement.morphology import box_of
from seas_train import Checkpoint
from seas_train.methods.anomalydiffusion.model import anomaly_tokens, contexts, mask_contexts

STEPS = 200
"""The paper's, of DDIM with eta 1."""


def tables(checkpoint: Checkpoint, extras: Extras) -> dict[str, dict[str, Array]]:
    """Return the defects' tokens, contexts of masks, and what placed pairs need."""
    learned = contexts(checkpoint)
    made = base_tables(checkpoint, learned, lambda defect: learned[defect][None])
    made[TOKENS] = {name: rows.contiguous().numpy() for name, rows in anomaly_tokens(checkpoint).items()}
    if of_masks := mask_contexts(checkpoint):
        made[MASK_EMBEDDINGS] = {name: value.contiguous().numpy() for name, value in of_masks.items()}
    return made


def generation(checkpoint: Checkpoint, extras: Extras) -> dict[str, Any]:
    """Return how attention is re-weighted, how large masks are, and how pairs are blended and judged."""
    asked = checkpoint.meta["generation"].get(REWEIGHT, "auto")
    if asked == "auto":
        placement = checkpoint.placement
        shown = None if placement is None else has_background(placement.table)
        asked = AUTHORS if shown is False else OFF  # a texture fills the photograph
    made = {REWEIGHT: asked, **base_generation(checkpoint)}
    if (scale := _mask_scale(checkpoint)) is not None:
        made[MASK_SCALE] = scale
    return made


def _mask_scale(checkpoint: Checkpoint) -> float | None:
    """Return pixels of photographs to one of the masks that the model saw: by what both are of, the medians
    of their longer sides."""
    placement = checkpoint.placement
    if placement is None:
        return None
    real = [max(shape.mask.shape) for found in placement.shapes.values() for shape in found]
    seen = []
    for masks in placement.masks.values():
        for mask in masks:
            if mask.any():
                top, left, bottom, right = box_of(mask > 0)
                seen.append(max(bottom - top, right - left))
    return round(float(np.median(real) / np.median(seen)), 4) if real and seen else None


def with_prompt(content: Content, inputs: Inputs, name: str) -> Inputs:
    """Return inputs with the tokens of another defect, or of `good`."""
    tokens = np.stack([content.tables[TOKENS][name]] * len(inputs.origins))
    return replace(inputs, values={**inputs.values, TOKENS: tokens})


METHOD = ExportMethod(
    name="anomalydiffusion",
    part_names=PARTS,
    parts=make_parts,
    compose=compose,
    tables=tables,
    generation=generation,
    fewest_steps=1,
    blend=True,
    half_tables=(EMBEDDINGS, TOKENS, MASK_EMBEDDINGS),
    half_values=frozenset({CONTEXT, "negative_context", TOKENS, "tap_coarse", "tap_fine"}),
    inner_values=frozenset(),
    part_cases=lambda checkpoint: {},
    sampler=DDIM_ETA1,
    steps=STEPS,
    step_counts=(MASK_STEPS,),
    reference=Reference(make_inputs, reference_module, reference_loop, make_placed),
    with_prompt=with_prompt,
)
