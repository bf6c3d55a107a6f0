"""The graphs that generation runs, composed from the traced parts.

Composing ONNX graphs, and not tracing PyTorch again, keeps every weight the same tensor in part and
composition, so that it is stored once; and it takes a moment where tracing takes half a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from seas_engines.graphs.guidance import divide
from seas_engines.targets.targets import TargetSpec
from seas_export.extras import NONE, Extras
from seas_export.graphs.finishing import finish
from seas_export.graphs.graph_builder import GraphBuilder
from seas_export.graphs.schedules import adds_noise
from seas_export.graphs.trace import UNET, VAE_DECODER, VAE_ENCODER
from seas_export.graphs.weights import WeightStore
from seas_export.methods.seas.parts import MASK_HEAD, VAE_TAPS
from seas_runtime.manifest.schedule import BLEND_COLUMNS, COLUMNS
from seas_runtime.manifest.types import (
    BATCH,
    DECODE_IMAGE,
    DECODE_MASK,
    ENCODE_IMAGE,
    STEP,
    STEP_UNGUIDED,
    STEPS,
)
from seas_runtime.methods.blending.inputs import BACKGROUND, BLEND_NOISE, BLENDED, MASK
from seas_runtime.methods.seas_options import RESCALE
from seas_train.bases.base import Geometry


def compose_step(
    unet: ir.Model,
    geometry: Geometry,
    dtype: ir.DataType,
    opset: int,
    guided: bool = True,
    *,
    rescaled: bool = False,
    noisy: bool = False,
    name: str | None = None,
    per_step: bool = False,
    attention: Callable[[GraphBuilder, Mapping[str, ir.Value]], Mapping[str, ir.Value]] | None = None,
) -> ir.Model:
    """Return the graph of one denoising step: blend, scheduler, guidance and U-Net.

    The step starts from `blended`: the latents where `mask` is 1, elsewhere the background, noised as far
    as the step's latents are. Guidance 1 leaves the unconditional half unread: without `guided` the U-Net
    runs on the conditional half alone, and the inputs `guidance` and `negative_context` are not there. With
    `rescaled` it also takes `guidance_rescale`: see `_rescaled`; with `noisy` the input `noise`, which
    samplers add in their steps. `attention` adds inputs, and returns what a U-Net without guidance takes
    besides, of the step's `latents`, `noised`, the background, `previous_x0` and `step_index`. `name` is
    the graph's. With `per_step` it takes a row of `contexts` [steps, B, L, D].
    """
    build = GraphBuilder(name or (STEP if guided else STEP_UNGUIDED), opset)
    float32 = ir.DataType.FLOAT
    size = geometry.latent_size
    latent_shape: list[int | str] = [BATCH, geometry.latent_channels, size, size]
    words = [geometry.context_length, geometry.context_width]
    latents = build.input("latents", float32, latent_shape)
    previous_x0 = build.input("previous_x0", float32, latent_shape)
    schedule = build.input("schedule", float32, [STEPS, len(COLUMNS + BLEND_COLUMNS)])
    step_index = build.input("step_index", ir.DataType.INT64, [1])
    guidance = build.input("guidance", float32, [1]) if guided else None
    if per_step:
        contexts = build.input("contexts", dtype, [STEPS, BATCH, *words])
        (row_of,) = build.op("Gather", contexts, step_index, axis=0)  # [1,B,L,D]
        (context,) = build.op("Squeeze", row_of, build.constant(np.array([0], np.int64)))
    else:
        context = build.input("context", dtype, [BATCH, *words])
    negative_context = build.input("negative_context", dtype, [1, *words]) if guided else None
    phi = build.input(RESCALE, float32, [1]) if guided and rescaled else None
    mask = build.input(MASK, float32, [BATCH, 1, size, size])
    background = build.input(BACKGROUND, float32, latent_shape)
    blend_noise = build.input(BLEND_NOISE, float32, latent_shape)
    added = build.input("noise", float32, latent_shape) if noisy else None

    (row,) = build.op("Gather", schedule, step_index, axis=0)  # [1,10]
    count = len(COLUMNS + BLEND_COLUMNS)
    (columns,) = build.op("Reshape", row, build.constant(np.array([count, 1, 1, 1], np.int64)))
    timestep, s, p, q, a, b, c, d, r, n = build.op(  # [1,1,1,1] each
        "Split", columns, outputs=count, num_outputs=count, axis=0
    )
    (timestep,) = build.op("Reshape", timestep, build.constant(np.array([1], np.int64)))

    (outside,) = build.op("Sub", build.constant(np.array(1.0, np.float32)), mask)
    noised = _sum(build, (r, background), (n, blend_noise))
    blended = _sum(build, (mask, latents), (outside, noised))
    (scaled,) = build.op("Mul", blended, s)
    if guidance is None or negative_context is None:
        known = {"latents": latents, "noised": noised, "previous_x0": previous_x0, "step_index": step_index}
        more = {} if attention is None else attention(build, known)
        given = {"latents": scaled, "timestep": timestep, "context": context, **more}
        predicted = build.inline(unet, given)
        noise, tap_coarse, tap_fine = (
            predicted[name] for name in ("noise_prediction", "tap_coarse", "tap_fine")
        )
    else:
        noise, tap_coarse, tap_fine = _guided(
            build, unet, scaled, timestep, context, negative_context, guidance, phi
        )
    x0 = _sum(build, (p, blended), (q, noise))
    fresh = () if added is None else ((d, added),)
    next_latents = _sum(build, (a, blended), (b, x0), (c, previous_x0), *fresh)
    return build.build(
        {
            "next_latents": (next_latents, float32, latent_shape),
            "x0": (x0, float32, latent_shape),
            "tap_coarse": (
                tap_coarse,
                dtype,
                [BATCH, channels(unet.graph.outputs, "tap_coarse"), size // 2, size // 2],
            ),
            "tap_fine": (tap_fine, dtype, [BATCH, channels(unet.graph.outputs, "tap_fine"), size, size]),
            BLENDED: (blended, float32, latent_shape),
        }
    )


def _guided(
    build: GraphBuilder,
    unet: ir.Model,
    scaled: ir.Value,
    timestep: ir.Value,
    context: ir.Value,
    negative_context: ir.Value,
    guidance: ir.Value,
    phi: ir.Value | None,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Run the U-Net on both halves; return the guided noise and the conditional half's taps."""
    (shape,) = build.op("Shape", context)
    (negative,) = build.op("Expand", negative_context, shape)
    (contexts,) = build.op("Concat", negative, context, axis=0)  # [2B,L,D]: unconditional half first
    halves = divide(unet)
    if halves is None:
        (scaled,) = build.op("Concat", scaled, scaled, axis=0)  # [2B,C,h,w]
    inputs = {"latents": scaled, "timestep": timestep, "context": contexts}
    predicted = build.inline(unet, inputs, halves)

    unconditional, conditional = build.op(
        "Split", predicted["noise_prediction"], outputs=2, num_outputs=2, axis=0
    )
    (difference,) = build.op("Sub", conditional, unconditional)
    (guided,) = build.op("Mul", guidance, difference)
    (noise,) = build.op("Add", unconditional, guided)
    if phi is not None:
        noise = _rescaled(build, noise, conditional, phi)
    tap_coarse = build.op("Split", predicted["tap_coarse"], outputs=2, num_outputs=2, axis=0)[1]
    tap_fine = build.op("Split", predicted["tap_fine"], outputs=2, num_outputs=2, axis=0)[1]
    return noise, tap_coarse, tap_fine


def _rescaled(build: GraphBuilder, guided: ir.Value, conditional: ir.Value, phi: ir.Value) -> ir.Value:
    """Draw the guided prediction's deviation, of each item, to the conditional one's by phi.

    Lin et al. 2023 (arXiv 2305.08891), equations 14 to 16: guided * (1 + phi (std_cond / std_guided - 1)).
    """
    variances = [_variance(build, value) for value in (conditional, guided)]  # [B,1,1,1] each
    (quotient,) = build.op("Div", *variances)
    (ratio,) = build.op("Sqrt", quotient)
    (apart,) = build.op("Sub", ratio, build.constant(np.array(1.0, np.float32)))
    (drawn,) = build.op("Mul", phi, apart)
    (factor,) = build.op("Add", drawn, build.constant(np.array(1.0, np.float32)))
    return build.op("Mul", guided, factor)[0]


def _variance(build: GraphBuilder, value: ir.Value) -> ir.Value:
    """Return the sum of squares [B,1,1,1] about the mean of each item of [B,C,h,w]: a variance's multiple."""
    axes = build.constant(np.array([1, 2, 3], np.int64))
    (mean,) = build.op("ReduceMean", value, axes, keepdims=1)
    (centred,) = build.op("Sub", value, mean)
    (squared,) = build.op("Mul", centred, centred)
    return build.op("ReduceMean", squared, axes, keepdims=1)[0]


def channels(values: Sequence[ir.Value], name: str) -> int:
    """The second dimension of a part's input or output of that name."""
    shape = next(value.shape for value in values if value.name == name)
    assert shape is not None
    assert isinstance(shape[1], int)
    return shape[1]


def _sum(build: GraphBuilder, *terms: tuple[ir.Value, ir.Value]) -> ir.Value:
    """Return the sum of coefficient times tensor over the terms."""
    products = [build.op("Mul", *term)[0] for term in terms]
    total = products[0]
    for product in products[1:]:
        (total,) = build.op("Add", total, product)
    return total


def compose_decode_mask(
    vae_decoder: ir.Model, mask_head: ir.Model, geometry: Geometry, dtype: ir.DataType, opset: int
) -> ir.Model:
    """Return the graph from latents and U-Net taps to probability; the decoder stops where the head does."""
    build = GraphBuilder(DECODE_MASK, opset)
    size, side = geometry.latent_size, geometry.image_size
    latents = build.input("latents", ir.DataType.FLOAT, [BATCH, geometry.latent_channels, size, size])
    coarse, fine = (channels(mask_head.graph.inputs, name) for name in ("tap_coarse", "tap_fine"))
    taps = {
        "tap_coarse": build.input("tap_coarse", dtype, [BATCH, coarse, size // 2, size // 2]),
        "tap_fine": build.input("tap_fine", dtype, [BATCH, fine, size, size]),
    }
    seen = unscaled(build, latents, geometry)
    if any(value.name == "latents" for value in mask_head.graph.inputs):
        taps["latents"] = seen  # it has a small decoder of its own
    else:
        decoded = build.inline(vae_decoder, {"latents": seen})
        taps |= {name: decoded[name] for name in VAE_TAPS}
    probability = build.inline(mask_head, taps)["probability"]
    return build.build({"probability": (probability, ir.DataType.FLOAT, [BATCH, side, side])})


def compose_decode_image(vae_decoder: ir.Model, geometry: Geometry, opset: int) -> ir.Model:
    """Return the graph from latents to pixels: clamped, rounded half to even as diffusers does; NHWC."""
    build = GraphBuilder(DECODE_IMAGE, opset)
    size, side = geometry.latent_size, geometry.image_size
    latents = build.input("latents", ir.DataType.FLOAT, [BATCH, geometry.latent_channels, size, size])
    pixels = build.inline(vae_decoder, {"latents": unscaled(build, latents, geometry)})["image"]
    (halved,) = build.op("Mul", pixels, build.constant(np.array(0.5, np.float32)))
    half, zero, one, levels = (
        build.constant(np.array(value, np.float32)) for value in (0.5, 0.0, 1.0, 255.0)
    )
    (centred,) = build.op("Add", halved, half)
    (clamped,) = build.op("Clip", centred, zero, one)
    (stretched,) = build.op("Mul", clamped, levels)
    (rounded,) = build.op("Round", stretched)
    (bytes_,) = build.op("Cast", rounded, to=int(ir.DataType.UINT8))
    (image,) = build.op("Transpose", bytes_, perm=[0, 2, 3, 1])
    return build.build({"image": (image, ir.DataType.UINT8, [BATCH, side, side, 3])})


def compose_encode_image(vae_encoder: ir.Model, geometry: Geometry, opset: int) -> ir.Model:
    """Return the graph from pixels [B,H,W,3] to scaled latents: the posterior's mean, as references are."""
    build = GraphBuilder(ENCODE_IMAGE, opset)
    size, side = geometry.latent_size, geometry.image_size
    image = build.input("image", ir.DataType.UINT8, [BATCH, side, side, 3])
    (levels,) = build.op("Cast", image, to=int(ir.DataType.FLOAT))  # first: TensorRT's bytes can only be cast
    (turned,) = build.op("Transpose", levels, perm=[0, 3, 1, 2])
    (stretched,) = build.op("Div", turned, build.constant(np.array(127.5, np.float32)))
    (pixels,) = build.op("Sub", stretched, build.constant(np.array(1.0, np.float32)))
    encoded = build.inline(vae_encoder, {"image": pixels})["latents"]
    (scaled,) = build.op("Mul", encoded, build.constant(np.array(geometry.scaling_factor, np.float32)))
    shape: list[int | str] = [BATCH, geometry.latent_channels, size, size]
    return build.build({"latents": (scaled, ir.DataType.FLOAT, shape)})


def unscaled(build: GraphBuilder, latents: ir.Value, geometry: Geometry) -> ir.Value:
    """Return latents as the VAE sees them."""
    scaling = build.constant(np.array(geometry.scaling_factor, np.float32))
    return build.op("Div", latents, scaling)[0]


def compose(
    parts: Mapping[str, ir.Model],
    geometry: Geometry,
    dtype: ir.DataType,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras = NONE,
) -> dict[str, ir.Model]:
    """Return `step`, with and without guidance, both decodes and `encode_image`, as a target wants them.

    Args:
        parts: whose weights are in `store`, the bundle's; new ones go there.
        geometry: of the base.
        dtype: of embeddings and U-Net taps.
        spec: the target's.
        extras: whether a step takes guidance rescale, or a sampler's noise.
    """
    opset, rescaled, noisy = spec.opset, extras.guidance_rescale is not None, adds_noise(extras.samplers)
    composed = {
        STEP: compose_step(parts[UNET], geometry, dtype, opset, rescaled=rescaled, noisy=noisy),
        STEP_UNGUIDED: compose_step(parts[UNET], geometry, dtype, opset, guided=False, noisy=noisy),
        DECODE_MASK: compose_decode_mask(parts[VAE_DECODER], parts[MASK_HEAD], geometry, dtype, opset),
        DECODE_IMAGE: compose_decode_image(parts[VAE_DECODER], geometry, opset),
        ENCODE_IMAGE: compose_encode_image(parts[VAE_ENCODER], geometry, opset),
    }
    return finish(composed, spec, store)
