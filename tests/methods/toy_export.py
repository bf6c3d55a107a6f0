"""The toy method's export: a step that blends, with the U-Net and the VAE's decoder as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from seas_engines.targets.targets import TargetSpec
from seas_export.extras import Extras
from seas_export.graphs.graph_builder import GraphBuilder
from seas_export.graphs.trace import Part
from seas_export.graphs.weights import WeightStore
from seas_export.methods.contract import ExportMethod
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import BATCH, DECODE_IMAGE, STEP, STEPS
from seas_train.bases.base import Geometry
from seas_train.diffusion.taps import decode_image

OFFSET = 0.25


class UNet(nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        return self.unet(latents, timestep, context, return_dict=False)[0]


class Decoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        return decode_image(self.vae, latents)


def parts(checkpoint: Any) -> Iterator[Part]:
    geometry = checkpoint.geometry
    latents = torch.randn(2, geometry.latent_channels, geometry.latent_size, geometry.latent_size)
    context = torch.randn(2, geometry.context_length, geometry.context_width)
    inputs = {"latents": latents, "timestep": torch.tensor([500.0]), "context": context}
    yield Part("unet", UNet(checkpoint.unet).eval(), inputs, ("noise",), ("latents", "context"))
    yield Part("decoder", Decoder(checkpoint.vae).eval(), {"latents": latents}, ("image",), ("latents",))


def compose(
    models: Mapping[str, ir.Model],
    geometry: Geometry,
    dtype: ir.DataType,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras,
) -> dict[str, ir.Model]:
    size, channels = geometry.latent_size, geometry.latent_channels
    latent: list[int | str] = [BATCH, channels, size, size]
    words = [geometry.context_length, geometry.context_width]
    build = GraphBuilder(STEP, spec.opset)
    float32 = ir.DataType.FLOAT
    x, previous = build.input("latents", float32, latent), build.input("previous_x0", float32, latent)
    schedule = build.input("schedule", float32, [STEPS, 10])
    index = build.input("step_index", ir.DataType.INT64, [1])
    contexts = build.input("contexts", dtype, [STEPS, BATCH, *words])
    offsets = build.input("offsets", dtype, [STEPS, *words])
    background, noise = build.input("background", float32, latent), build.input("noise", float32, latent)
    mask = build.input("mask", float32, [BATCH, 1, size, size])

    (row,) = build.op("Gather", schedule, index, axis=0)
    (columns,) = build.op("Reshape", row, build.constant(np.array([10, 1, 1, 1], np.int64)))
    timestep, s, p, q, a, b, c, _, r, n = build.op("Split", columns, outputs=10, num_outputs=10, axis=0)
    (timestep,) = build.op("Reshape", timestep, build.constant(np.array([1], np.int64)))
    (of_step,) = build.op("Gather", contexts, index, axis=0)  # [1,B,L,D]
    (of_pairs,) = build.op("Squeeze", of_step, build.constant(np.array([0], np.int64)))
    (offset,) = build.op("Gather", offsets, index, axis=0)  # [1,L,D]
    (context,) = build.op("Add", of_pairs, offset)

    def mix(*terms: tuple[ir.Value, ir.Value]) -> ir.Value:
        total, *rest = [build.op("Mul", *term)[0] for term in terms]
        for term in rest:
            (total,) = build.op("Add", total, term)
        return total

    (outside,) = build.op("Sub", build.constant(np.array(1, np.float32)), mask)
    x = mix((mask, x), (outside, mix((r, background), (n, noise))))
    (scaled,) = build.op("Mul", s, x)
    inputs = {"latents": scaled, "timestep": timestep, "context": context}
    predicted = build.inline(models["unet"], inputs)["noise"]
    x0 = mix((p, x), (q, predicted))
    following = mix((a, x), (b, x0), (c, previous))
    step = build.build({"next_latents": (following, float32, latent), "x0": (x0, float32, latent)})

    build = GraphBuilder(DECODE_IMAGE, spec.opset)
    given = build.input("latents", float32, latent)
    pixels = build.inline(models["decoder"], {"latents": given})["image"]
    half = build.constant(np.array(127.5, np.float32))
    (levels,) = build.op("Mul", pixels, half)
    (shifted,) = build.op("Add", levels, half)
    zero, most = (build.constant(np.array(value, np.float32)) for value in (0, 255))
    (clipped,) = build.op("Clip", shifted, zero, most)
    (rounded,) = build.op("Round", clipped)
    (whole,) = build.op("Cast", rounded, to=int(ir.DataType.UINT8))
    (image,) = build.op("Transpose", whole, perm=[0, 2, 3, 1])
    side = geometry.image_size
    decode = build.build({"image": (image, ir.DataType.UINT8, [BATCH, side, side, 3])})
    store.move([step, decode])
    return {STEP: step, DECODE_IMAGE: decode}


def tables(checkpoint: Any, extras: Extras) -> dict[str, dict[str, Array]]:
    with torch.inference_mode():
        contexts = {key: checkpoint.context(text)[0].numpy() for key, text in checkpoint.prompts.items()}
    backgrounds = checkpoint.references.numpy() * np.float32(checkpoint.geometry.scaling_factor)
    return {"contexts": contexts, "backgrounds": {"latents": backgrounds}}


METHOD = ExportMethod(
    name="toy",
    part_names=("unet", "decoder"),
    parts=parts,
    compose=compose,
    tables=tables,
    generation=lambda checkpoint, extras: {"offset": OFFSET},
    fewest_steps=1,
    blend=True,
    half_tables=("contexts",),
    half_values=frozenset({"context", "contexts", "offsets"}),
    inner_values=frozenset(),
    part_cases=lambda checkpoint: {},
)
