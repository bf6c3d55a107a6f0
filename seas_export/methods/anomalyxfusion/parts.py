"""The parts that are traced, and the graphs that generation runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import torch

from seas_engines.targets.targets import TargetSpec
from seas_export.extras import Extras
from seas_export.graphs.finishing import finish
from seas_export.graphs.graph_builder import GraphBuilder
from seas_export.graphs.trace import TEXT_ENCODER, UNET, VAE_DECODER, VAE_ENCODER, Part
from seas_export.graphs.weights import WeightStore
from seas_export.methods.seas.compose import (
    channels,
    compose_decode_image,
    compose_encode_image,
    compose_step,
)
from seas_export.methods.seas.parts import make_parts as make_base_parts
from seas_runtime.manifest.types import BATCH, DECODE_IMAGE, ENCODE_IMAGE, STEP, STEP_UNGUIDED, STEPS
from seas_runtime.methods.anomalyxfusion.method import (
    CONTEXT,
    CONTEXTS,
    SENTENCE,
    SHAPE,
    TEXTURES,
    TIMESTEPS,
)
from seas_train import Checkpoint
from seas_train.bases.base import Geometry
from seas_train.methods.anomalyxfusion.model import networks

FUSION, TIME = "fusion", "time_fusion"
PARTS = (TEXT_ENCODER, VAE_ENCODER, VAE_DECODER, UNET, FUSION, TIME)


def with_tokens(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint whose contexts are as long as the fused tokens: a third of them each."""
    count = 3 * int(checkpoint.meta["training"]["anomalyxfusion"]["tokens"])
    return replace(checkpoint, geometry=replace(checkpoint.geometry, context_length=count))


def make_parts(checkpoint: Checkpoint, batch: int = 2) -> Iterator[Part]:
    """Yield the base's parts, the U-Net with the fused tokens for a context, and both networks."""
    yield from make_base_parts(checkpoint, names=PARTS[:3])
    fused = with_tokens(checkpoint)
    yield from make_base_parts(fused, names=(UNET,))
    geometry, side = fused.geometry, fused.geometry.image_size
    width, count = geometry.context_width, geometry.context_length
    fusion, time = networks(checkpoint)
    feeds = {
        SENTENCE: torch.randn(batch, width),
        TEXTURES: torch.randn(batch, count // 3, width),
        SHAPE: torch.rand(batch, 1, side, side),
    }
    yield Part(FUSION, fusion, feeds, ("fused",), tuple(feeds))
    steps = {"fused": torch.randn(batch, count, width), TIMESTEPS: 999 * torch.rand(batch)}
    yield Part(TIME, time, steps, ("contexts",), tuple(steps))


def compose_context(
    parts: Mapping[str, ir.Model], geometry: Geometry, dtype: ir.DataType, opset: int
) -> ir.Model:
    """Return the graph of a pair's contexts [steps, B, T, D]: fused once, then lifted to every timestep."""
    build = GraphBuilder(CONTEXT, opset)
    float32, side, width = ir.DataType.FLOAT, geometry.image_size, geometry.context_width
    count = channels(parts[FUSION].graph.inputs, TEXTURES)
    sentence = build.input(SENTENCE, float32, [BATCH, width])
    textures = build.input(TEXTURES, float32, [BATCH, count, width])
    mask = build.input(SHAPE, float32, [BATCH, 1, side, side])
    timesteps = build.input(TIMESTEPS, float32, [STEPS])
    feeds = {SENTENCE: sentence, TEXTURES: textures, SHAPE: mask}
    fused = build.inline(parts[FUSION], feeds)["fused"]  # [B,T,D]
    (steps,) = build.op("Shape", timesteps)
    (batch,) = build.op("Shape", sentence, start=0, end=1)
    ends = build.constant(np.array([3 * count, width], np.int64))
    (all_sizes,) = build.op("Concat", steps, batch, ends, axis=0)
    (expanded,) = build.op("Expand", fused, all_sizes)  # [N,B,T,D]
    flat = build.constant(np.array([-1, 3 * count, width], np.int64))
    (items,) = build.op("Reshape", expanded, flat)
    (column,) = build.op("Unsqueeze", timesteps, build.constant(np.array([1], np.int64)))
    (grid,) = build.op("Concat", steps, batch, axis=0)
    (spread,) = build.op("Expand", column, grid)
    (times,) = build.op("Reshape", spread, build.constant(np.array([-1], np.int64)))
    lifted = build.inline(parts[TIME], {"fused": items, TIMESTEPS: times})["contexts"]
    (contexts,) = build.op("Reshape", lifted, all_sizes)
    if dtype != float32:
        (contexts,) = build.op("Cast", contexts, to=int(dtype))
    return build.build({CONTEXTS: (contexts, dtype, [STEPS, BATCH, 3 * count, width])})


def compose(
    parts: Mapping[str, ir.Model],
    geometry: Geometry,
    dtype: ir.DataType,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras,
) -> dict[str, ir.Model]:
    """Return the graphs that generation runs; see `ExportMethod.compose`."""
    count = 3 * channels(parts[FUSION].graph.inputs, TEXTURES)
    opset, fused = spec.opset, replace(geometry, context_length=count)
    composed = {
        STEP: compose_step(parts[UNET], fused, dtype, opset, guided=True, per_step=True),
        STEP_UNGUIDED: compose_step(parts[UNET], fused, dtype, opset, guided=False, per_step=True),
        CONTEXT: compose_context(parts, geometry, dtype, opset),
        DECODE_IMAGE: compose_decode_image(parts[VAE_DECODER], geometry, opset),
        ENCODE_IMAGE: compose_encode_image(parts[VAE_ENCODER], geometry, opset),
    }
    return finish(composed, spec, store)
