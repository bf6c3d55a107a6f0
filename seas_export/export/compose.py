"""The graphs that generation runs, composed from the traced parts (decisions 1 and 2 of the design).

Composing ONNX graphs, and not tracing PyTorch again, keeps every weight the same tensor in part and
composition, so that it is stored once; and it takes a moment where tracing takes half a minute.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.attention import fuse_attention
from seas_engines.targets import TargetSpec
from seas_export.export.halves import Halves, divide
from seas_export.export.parts import MASK_HEAD, UNET, VAE_DECODER, VAE_TAPS
from seas_export.export.trace import BATCH
from seas_export.export.upsampling import split_upsampling
from seas_export.export.weights import WeightStore
from seas_runtime.manifest import DECODE_IMAGE, DECODE_MASK, STEP, STEP_UNGUIDED
from seas_runtime.schedule import COLUMNS
from seas_train.bases import Geometry

_OF = "/"
_IR_VERSION = 10  # opset 20 is older; ONNX Runtime 1.18, the oldest that the runtime takes, reads up to 10


class GraphBuilder:
    """An ONNX graph in the making: named inputs, operators, whole graphs inlined, named outputs."""

    def __init__(self, name: str, opset: int) -> None:
        self._graph = ir.Graph([], [], nodes=[], name=name, opset_imports={"": opset})
        self._count = 0

    def input(self, name: str, dtype: ir.DataType, shape: list[int | str]) -> ir.Value:
        """Add a graph input."""
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self._graph.inputs.append(value)
        return value

    def op(
        self, op_type: str, *inputs: ir.Value, outputs: int = 1, **attributes: int | list[int]
    ) -> list[ir.Value]:
        """Append a node of the standard operator set; returns its outputs."""
        node = ir.Node(
            "", op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=outputs
        )
        return self._append(node, op_type.lower())

    def constant(self, array: np.ndarray) -> ir.Value:
        """Add a small initializer."""
        return self._initializer(ir.tensor(array), "constant")

    def inline(
        self, model: ir.Model, inputs: Mapping[str, ir.Value], halves: Halves | None = None
    ) -> dict[str, ir.Value]:
        """Append a copy of a model's nodes, reading `inputs`; return its outputs by name.

        A node keeps its name, behind its model's: see `origin`. With `halves`, what its `both` computes reads
        what is `repeated` twice over, along the batch.
        """
        twice: dict[ir.Value | None, ir.Value] = {}
        known: dict[ir.Value | None, ir.Value | None] = {None: None}
        for value in model.graph.inputs:
            known[value] = inputs[str(value.name)]
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            known[value] = self._initializer(value.const_value, "weight")
        for node in model.graph:
            apart = halves is not None and halves.both.issuperset(node.outputs)
            repeated = halves.repeated if halves is not None and apart else frozenset()
            for value in node.inputs:
                if value in repeated and value not in twice:
                    twice[value] = self._repeated(known[value])
            copied = ir.Node(
                node.domain,
                node.op_type,
                [twice[value] if value in repeated else known[value] for value in node.inputs],
                list(node.attributes.values()),
                num_outputs=len(node.outputs),
            )
            made = self._append(copied, node.op_type.lower(), f"{model.graph.name}{_OF}{node.name}")
            for old, new in zip(node.outputs, made, strict=True):
                new.type = old.type
                new.shape = _generic(old.shape)
                known[old] = new
        result = {str(value.name): known[value] for value in model.graph.outputs}
        return {name: value for name, value in result.items() if value is not None}

    def build(self, outputs: Mapping[str, tuple[ir.Value, ir.DataType, list[int | str]]]) -> ir.Model:
        """Name the outputs, drop what they do not need, and return the model."""
        for name, (value, dtype, shape) in outputs.items():
            value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)
            self._graph.outputs.append(value)
        model = ir.Model(self._graph, ir_version=_IR_VERSION, producer_name="seas-export")
        passes.RemoveUnusedNodesPass()(model)
        return model

    def _repeated(self, value: ir.Value | None) -> ir.Value:
        """Append a value's repetition along the batch."""
        assert value is not None
        (doubled,) = self.op("Concat", value, value, axis=0)
        doubled.type, doubled.shape = value.type, _generic(value.shape)
        return doubled

    def _append(self, node: ir.Node, stem: str, name: str = "") -> list[ir.Value]:
        for value in node.outputs:
            value.name = self._fresh(stem)
        node.name = name or self._fresh(stem)
        self._graph.append(node)
        return list(node.outputs)

    def _initializer(self, tensor: ir.TensorProtocol, stem: str) -> ir.Value:
        value = ir.Value(
            name=self._fresh(stem), shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._graph.register_initializer(value)
        return value

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def origin(name: str) -> tuple[str, str] | None:
    """Return the part and its node that a composed graph's node is a copy of, by name; None for its own."""
    part, of, node = name.partition(_OF)
    return (part, node) if of else None


def _generic(shape: ir.Shape | None) -> ir.Shape | None:
    """Drop a dynamic size's name: in the composition it stands for another size."""
    if shape is None:
        return None
    return ir.Shape([size if isinstance(size, int) else None for size in shape])


def compose_step(
    unet: ir.Model, geometry: Geometry, dtype: ir.DataType, opset: int, guided: bool = True
) -> ir.Model:
    """Return the graph of one denoising step: scheduler, guidance and U-Net; see DESIGN decision 1.

    Guidance 1 leaves the unconditional half unread: without `guided` the U-Net runs on the conditional half
    alone, and the inputs `guidance` and `negative_context` are not there.
    """
    build = GraphBuilder(STEP if guided else STEP_UNGUIDED, opset)
    float32 = ir.DataType.FLOAT
    size = geometry.latent_size
    latent_shape: list[int | str] = [BATCH, geometry.latent_channels, size, size]
    words = [geometry.context_length, geometry.context_width]
    latents = build.input("latents", float32, latent_shape)
    previous_x0 = build.input("previous_x0", float32, latent_shape)
    schedule = build.input("schedule", float32, ["steps", len(COLUMNS)])
    step_index = build.input("step_index", ir.DataType.INT64, [1])
    guidance = build.input("guidance", float32, [1]) if guided else None
    context = build.input("context", dtype, [BATCH, *words])
    negative_context = build.input("negative_context", dtype, [1, *words]) if guided else None

    (row,) = build.op("Gather", schedule, step_index, axis=0)  # [1,8]
    (columns,) = build.op("Reshape", row, build.constant(np.array([len(COLUMNS), 1, 1, 1], np.int64)))
    timestep, s, p, q, a, b, c, _ = build.op("Split", columns, outputs=8, num_outputs=8, axis=0)  # [1,1,1,1]
    (timestep,) = build.op("Reshape", timestep, build.constant(np.array([1], np.int64)))

    (scaled,) = build.op("Mul", latents, s)
    if guidance is None or negative_context is None:
        predicted = build.inline(unet, {"latents": scaled, "timestep": timestep, "context": context})
        noise, tap_coarse, tap_fine = (
            predicted[name] for name in ("noise_prediction", "tap_coarse", "tap_fine")
        )
    else:
        noise, tap_coarse, tap_fine = _guided(
            build, unet, scaled, timestep, context, negative_context, guidance
        )
    x0 = _sum(build, (p, latents), (q, noise))
    next_latents = _sum(build, (a, latents), (b, x0), (c, previous_x0))
    return build.build(
        {
            "next_latents": (next_latents, float32, latent_shape),
            "x0": (x0, float32, latent_shape),
            "tap_coarse": (tap_coarse, dtype, [BATCH, geometry.tap_coarse_channels, size // 2, size // 2]),
            "tap_fine": (tap_fine, dtype, [BATCH, geometry.tap_fine_channels, size, size]),
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
    tap_coarse = build.op("Split", predicted["tap_coarse"], outputs=2, num_outputs=2, axis=0)[1]
    tap_fine = build.op("Split", predicted["tap_fine"], outputs=2, num_outputs=2, axis=0)[1]
    return noise, tap_coarse, tap_fine


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
    taps = {
        "tap_coarse": build.input(
            "tap_coarse", dtype, [BATCH, geometry.tap_coarse_channels, size // 2, size // 2]
        ),
        "tap_fine": build.input("tap_fine", dtype, [BATCH, geometry.tap_fine_channels, size, size]),
    }
    decoded = build.inline(vae_decoder, {"latents": _unscaled(build, latents, geometry)})
    taps |= {name: decoded[name] for name in VAE_TAPS}
    probability = build.inline(mask_head, taps)["probability"]
    return build.build({"probability": (probability, ir.DataType.FLOAT, [BATCH, side, side])})


def compose_decode_image(vae_decoder: ir.Model, geometry: Geometry, opset: int) -> ir.Model:
    """Return the graph from latents to pixels: clamped, rounded half to even as diffusers does; NHWC."""
    build = GraphBuilder(DECODE_IMAGE, opset)
    size, side = geometry.latent_size, geometry.image_size
    latents = build.input("latents", ir.DataType.FLOAT, [BATCH, geometry.latent_channels, size, size])
    pixels = build.inline(vae_decoder, {"latents": _unscaled(build, latents, geometry)})["image"]
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


def _unscaled(build: GraphBuilder, latents: ir.Value, geometry: Geometry) -> ir.Value:
    """Return latents as the VAE sees them."""
    scaling = build.constant(np.array(geometry.scaling_factor, np.float32))
    return build.op("Div", latents, scaling)[0]


def compose(
    parts: Mapping[str, ir.Model],
    geometry: Geometry,
    dtype: ir.DataType,
    spec: TargetSpec,
    store: WeightStore,
) -> dict[str, ir.Model]:
    """Return `step`, with and without guidance, `decode_mask` and `decode_image`, as a target wants them.

    Args:
        parts: whose weights are in `store`; new ones go there.
        geometry: of the base.
        dtype: of embeddings and U-Net taps.
        spec: the target's.
        store: of the bundle's weights.
    """
    opset = spec.opset
    composed = {
        STEP: compose_step(parts[UNET], geometry, dtype, opset),
        STEP_UNGUIDED: compose_step(parts[UNET], geometry, dtype, opset, guided=False),
        DECODE_MASK: compose_decode_mask(parts[VAE_DECODER], parts[MASK_HEAD], geometry, dtype, opset),
        DECODE_IMAGE: compose_decode_image(parts[VAE_DECODER], geometry, opset),
    }
    for model in composed.values():
        if spec.fused_attention:
            fuse_attention(model)
        if spec.split_upsampling:
            split_upsampling(model)
        store.move([model])
    return composed
