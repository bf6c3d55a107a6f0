"""AnomalyDiffusion at the edge: a context a pair, made from its mask (Hu et al., AAAI 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.signatures import FLOAT, FLOATS, Expected, Signature
from seas_runtime.manifest.types import (
    DECODE_IMAGE,
    ENCODE_IMAGE,
    GOOD,
    STEP,
    STEP_UNGUIDED,
    Manifest,
    SamplerDefaults,
)
from seas_runtime.methods.anomalydiffusion.masks import MASK_EMBEDDINGS, MASK_SCALE, MODEL
from seas_runtime.methods.anomalydiffusion.options import (
    AUTHORS,
    REWEIGHT,
    REWEIGHTS,
    STEP_AUTHORS,
    STEP_PAPER,
    AnomalyDiffusionOptions,
    check_options,
    choose_step,
    reweighting,
)
from seas_runtime.methods.anomalydiffusion.reweighting import LOOK, PHOTOGRAPH, PIXEL_MASK, grown, growth
from seas_runtime.methods.checks.placing import check_placing
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS, REFERENCES
from seas_runtime.methods.checks.seas_tables import check_tables as check_shared_tables
from seas_runtime.methods.contract import Beforehand, Content, Inputs, Method, Tables
from seas_runtime.methods.inpainting.step import (
    CARRIES,
    clean,
    defect_contexts,
    describe_shared,
    given_masks,
    make_inputs,
    no_readouts,
)
from seas_runtime.methods.inpainting.step import signatures as shared_signatures
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.methods.request import PairRequest
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT

CONTEXT = "context"
"""The graph that makes a pair's context from its defect's tokens and its mask, and its output."""
TOKENS = "tokens"
"""Its input, and the table: [k, W] a defect, and of `good`."""
SHAPE = "pixel_mask"
"""Its input: the mask [B, 1, S, S], 0 or 1."""
_BEFOREHAND = (Beforehand(CONTEXT, CONTEXT, CONTEXT),)


def signatures(manifest: Manifest) -> dict[str, tuple[Signature, Signature]]:
    """Return the inputs and outputs of all graphs."""
    shared = shared_signatures(manifest)
    latent, image = manifest.latent, manifest.image
    step, stepped = shared[STEP_UNGUIDED]
    looked = Expected(FLOAT, (None, 1, latent.height, latent.width))
    pixels = Expected(FLOAT, (None, 1, image.height, image.width))
    photograph = Expected(FLOAT, (None, 3, image.height, image.width))
    context = Expected(FLOATS, (None, None, None))
    return {
        **shared,
        STEP_AUTHORS: ({**step, LOOK: looked}, stepped),
        STEP_PAPER: ({**step, PHOTOGRAPH: photograph, PIXEL_MASK: pixels}, stepped),
        CONTEXT: ({TOKENS: Expected(FLOATS, (None, None, None)), SHAPE: pixels}, {CONTEXT: context}),
    }


def check_generation(fields: Fields, sampler: SamplerDefaults) -> None:
    """Refuse a section that does not say how attention is re-weighted."""
    fields.choice(REWEIGHT, REWEIGHTS)
    if fields.has(MASK_SCALE):
        fields.number(MASK_SCALE, 1e-3, 1e3)
    check_placing(fields)
    fields.close()


def check_tables(manifest: Manifest, tables: Tables, files: Mapping[str, str]) -> None:
    """Refuse tables that do not fit the graphs and the defects."""
    check_shared_tables(manifest, tables, files)
    spec = manifest.graphs[CONTEXT].input(TOKENS)
    shape = () if spec is None else spec.shape[1:]
    for key in (GOOD, *manifest.defects):
        _check(files[TOKENS], key, tables[TOKENS].get(key), shape)
    like = tables[EMBEDDINGS][GOOD].shape
    for key, array in tables.get(MASK_EMBEDDINGS, {}).items():
        if key not in manifest.defects:
            raise UserError(f"{files[MASK_EMBEDDINGS]}: expected the bundle's defects, found {key[:80]!r}")
        _check(files[MASK_EMBEDDINGS], key, array, like)


def _check(file: str, key: str, array: Array | None, shape: Sequence[int | str]) -> None:
    found = "none" if array is None else f"{array.dtype} {list(array.shape)}"
    fits = (
        array is not None
        and array.dtype in (np.float32, np.float16)
        and len(array.shape) == len(shape)
        and all(isinstance(want, str) or want == size for want, size in zip(shape, array.shape, strict=True))
        and bool(np.isfinite(array).all())
    )
    if not fits:
        raise UserError(
            f"{file}: {key!r}: expected finite float32 or float16 {list(shape)}, found {found}; export the "
            "bundle again"
        )


def inputs(content: Content, pairs: Sequence[PairRequest], attempt: int) -> Inputs:
    """Return what pairs are fed: noise in their masks, and what their contexts are made from."""
    manifest, options = content.manifest, pairs[0].request.options or AnomalyDiffusionOptions()
    size = (manifest.image.height, manifest.image.width)
    shapes = [np.ones(size, np.bool_) if pair.placed is None else pair.placed.mask for pair in pairs]
    pixel_masks = np.stack(shapes)[:, None].astype(np.float32)
    tokens = content.tables[TOKENS]
    values: dict[str, Array] = {
        CONTEXT: defect_contexts(content, pairs),  # stands in where a graph is looked at alone
        TOKENS: np.stack([tokens[pair.request.defect] for pair in pairs]),
        SHAPE: pixel_masks,
    }
    windows = [
        np.zeros((*size, 3), np.uint8) if pair.placed is None else pair.placed.window for pair in pairs
    ]
    photographs = np.stack(windows).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - 1
    values.update({PHOTOGRAPH: photographs, PIXEL_MASK: pixel_masks})
    made = make_inputs(content, pairs, attempt, options.strength, values, _BEFOREHAND)
    cells = given_masks(content, {}, made, ()).masks[:, None, :: _side(manifest), :: _side(manifest)]
    made = replace(made, values={**made.values, LOOK: cells.astype(np.float32)})
    if reweighting(manifest, options) != AUTHORS:
        return made
    sampling = pairs[0].request.sampling
    schedule = made.schedule or content.schedule(sampling.sampler, sampling.steps)
    looked = {
        step: grown(cells, growth(float(row[0]), manifest.latent.height))
        for step, row in enumerate(schedule.table)
    }
    return replace(made, steps={**made.steps, LOOK: looked})


def _side(manifest: Manifest) -> int:
    return manifest.image.height // manifest.latent.height


def describe(content: Content) -> dict[str, tuple[Any, str]]:
    """Return how attention is re-weighted, and whether masks can be generated."""
    return {
        **describe_shared(content),
        REWEIGHT: (content.manifest.generation[REWEIGHT], "adaptive attention re-weighting"),
        "mask_model": (MASK_EMBEDDINGS in content.tables, "masks can be generated"),
    }


METHOD = Method(
    name="anomalydiffusion",
    graphs=(STEP, CONTEXT, DECODE_IMAGE, ENCODE_IMAGE),
    tables=(EMBEDDINGS, REFERENCES, TOKENS),
    carries=CARRIES,
    signatures=signatures,
    check_generation=check_generation,
    check_tables=check_tables,
    readouts=no_readouts,
    inputs=inputs,
    masks=given_masks,
    clean=clean,
    describe=describe,
    options=AnomalyDiffusionOptions,
    optional_tables=(FEATURES, PLACEMENT, MASK_EMBEDDINGS),
    optional_graphs=(STEP_UNGUIDED, STEP_AUTHORS, STEP_PAPER),
    check_options=check_options,
    step_graph=choose_step,
    mask_model=MODEL,
    photographs_alone=True,
    draws_normals=False,
)
