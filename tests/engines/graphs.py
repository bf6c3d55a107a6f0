"""A small graph that holds what a bundle's do: group norm in pieces, one node of attention, bytes last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIDE, HEADS = 8, 4, 2
PIXELS = SIDE * SIDE


def network(gain: float = 1.0) -> ir.Model:
    """Return convolution, group norm, attention over pixels, a product, and bytes in another layout.

    latents [batch,8,4,4] float32 -> image [batch,4,4,8] uint8, middle [batch,16,8] float32. `gain` scales
    what the middle convolution gives, and the next takes back.
    """
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int, scale: float = 0.3) -> onnx.TensorProto:
        return numpy_helper.from_array((scale * rng.normal(size=shape)).astype(np.float32), name)

    def constant(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value, dtype), name)

    node = helper.make_node
    nodes = [
        node("Mul", ["latents", "half"], ["scaled"], name="scaled"),
        node("Conv", ["scaled", "w1"], ["c1"], name="first"),
        node("Reshape", ["c1", "groups"], ["split"], name="split"),
        node("InstanceNormalization", ["split", "ones", "zeros"], ["normed"], name="norm", epsilon=1e-5),
        node("Shape", ["c1"], ["shape"], name="shape"),
        node("Reshape", ["normed", "shape"], ["back"], name="back"),
        node("Mul", ["back", "scale"], ["weighted"], name="weighted"),
        node("Add", ["weighted", "bias"], ["grouped"], name="grouped"),
        node("Conv", ["grouped", "up"], ["large"], name="large"),
        node("Relu", ["large"], ["larger"], name="larger"),
        node("Conv", ["larger", "down"], ["small"], name="small"),
        node("Reshape", ["small", "rows"], ["columns"], name="columns"),
        node("Transpose", ["columns"], ["tokens"], name="tokens", perm=[0, 2, 1]),
        node("MatMul", ["tokens", "wq"], ["q"], name="q"),
        node("MatMul", ["tokens", "wk"], ["k"], name="k"),
        node("MatMul", ["tokens", "wv"], ["v"], name="v"),
        node(
            "MultiHeadAttention",
            ["q", "k", "v"],
            ["mixed"],
            name="attend",
            domain="com.microsoft",
            num_heads=HEADS,
            scale=0.5,
        ),
        node("MatMul", ["mixed", "wo"], ["middle"], name="product"),
        node("Transpose", ["middle"], ["turned"], name="turned", perm=[0, 2, 1]),
        node("Reshape", ["turned", "picture"], ["pixels"], name="pixels"),
        node("Conv", ["pixels", "w2"], ["drawn"], name="last"),
        node("Mul", ["drawn", "levels"], ["bright"], name="bright"),
        node("Clip", ["bright", "low", "high"], ["clipped"], name="clipped"),
        node("Round", ["clipped"], ["rounded"], name="rounded"),
        node("Cast", ["rounded"], ["bytes"], name="bytes", to=TensorProto.UINT8),
        node("Transpose", ["bytes"], ["image"], name="image", perm=[0, 2, 3, 1]),
    ]
    square = (CHANNELS, CHANNELS, 1, 1)
    identity = np.eye(CHANNELS, dtype=np.float32)[:, :, None, None]
    constants = [
        constant("half", 0.5),
        weight("w1", *square),
        constant("groups", [0, 4, -1], np.int64),
        constant("ones", np.ones(4)),
        constant("zeros", np.zeros(4)),
        weight("scale", CHANNELS, 1, 1),
        weight("bias", CHANNELS, 1, 1),
        constant("up", identity * gain),
        constant("down", identity / gain),
        constant("rows", [0, CHANNELS, PIXELS], np.int64),
        *(weight(name, CHANNELS, CHANNELS) for name in ("wq", "wk", "wv", "wo")),
        constant("picture", [0, CHANNELS, SIDE, SIDE], np.int64),
        weight("w2", *square),
        constant("levels", 255.0),
        constant("low", 0.0),
        constant("high", 255.0),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["batch", CHANNELS, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, CHANNELS]),
            helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["batch", PIXELS, CHANNELS]),
        ],
        constants,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    model = onnx.shape_inference.infer_shapes(model)
    made = ir.from_proto(model)
    for value in made.graph:
        for name in ("mixed",):
            if value.outputs[0].name == name:  # what ONNX cannot infer of another vendor's operator
                value.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
                value.outputs[0].shape = ir.Shape(["batch", PIXELS, CHANNELS])
    return made


def latents(count: int = 2, seed: int = 1) -> dict[str, np.ndarray]:
    """Return inputs of `network`."""
    rng = np.random.default_rng(seed)
    return {"latents": rng.normal(size=(count, CHANNELS, SIDE, SIDE)).astype(np.float32)}


def run(model: ir.Model, feeds: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Run a model as a file, as a builder would read it."""
    import onnxruntime

    from seas_engines.precision.evaluator import save_model

    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, ["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def kinds(model: ir.Model) -> set[str]:
    """Return the operators of a model."""
    return {node.op_type for node in model.graph}
