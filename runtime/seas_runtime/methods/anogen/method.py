"""AnoGen at the edge: one context a defect, drawn into boxes (Gui et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.types import DECODE_IMAGE, ENCODE_IMAGE, STEP, SamplerDefaults
from seas_runtime.methods.checks.placing import check_placing
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS, REFERENCES, check_tables
from seas_runtime.methods.contract import Content, Inputs, Method
from seas_runtime.methods.inpainting.options import InpaintingOptions
from seas_runtime.methods.inpainting.step import (
    CARRIES,
    clean,
    defect_contexts,
    describe_shared,
    given_masks,
    make_inputs,
    no_readouts,
    signatures,
)
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.methods.request import PairRequest
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT
from seas_runtime.placement.options import BOXES

EMBEDDING, OUTPUT, INPUT = "embedding", "output", "input"
"""Key of `generation`, and its values: what was learned in place of the text encoder's output, or of a token
at its input."""


def check_generation(fields: Fields, sampler: SamplerDefaults) -> None:
    """Refuse a section that does not say what was learned."""
    fields.choice(EMBEDDING, (OUTPUT, INPUT))
    check_placing(fields)
    fields.close()


def inputs(content: Content, pairs: Sequence[PairRequest], attempt: int) -> Inputs:
    """Return what pairs are fed: noise in their boxes, and their defect's context."""
    options = pairs[0].request.options or InpaintingOptions()
    context = defect_contexts(content, pairs)
    return make_inputs(content, pairs, attempt, options.strength, {"context": context})


def describe(content: Content) -> dict[str, tuple[Any, str]]:
    """Return what was learned, beside what all such methods say."""
    learned = content.manifest.generation[EMBEDDING]
    return {**describe_shared(content), EMBEDDING: (learned, "embeddings learned at the text encoder's")}


METHOD = Method(
    name="anogen",
    graphs=(STEP, DECODE_IMAGE, ENCODE_IMAGE),
    tables=(EMBEDDINGS, REFERENCES),
    carries=CARRIES,
    signatures=signatures,
    check_generation=check_generation,
    check_tables=check_tables,
    readouts=no_readouts,
    inputs=inputs,
    masks=given_masks,
    clean=clean,
    describe=describe,
    options=InpaintingOptions,
    optional_tables=(FEATURES, PLACEMENT),
    photographs_alone=True,
    draws_normals=False,
    placement_source=BOXES,
)
