"""ONNX Runtime's CUDA operators in standard ones, as its documentation has them: for a processor to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from seas_engines.precision.evaluator import save_model
from seas_runtime.bundle.reading import Bundle

VENDOR = "com.microsoft"


def in_standard_operators(model: ir.Model) -> None:
    """Replace the operators that only the CUDA provider has, in place."""
    rules: dict[str, Callable[[_Writer, ir.Node], list[ir.Value]]] = {
        "NhwcConv": _conv,
        "GroupNorm": _group_norm,
        "SkipGroupNorm": _skip_group_norm,
        "BiasSplitGelu": _split_gelu,
        "BiasAdd": _bias_add,
    }
    for node in list(model.graph):
        if node.domain == VENDOR and node.op_type in rules:
            writer = _Writer(model.graph, node)
            made = rules[node.op_type](writer, node)
            for old, new in zip(node.outputs, made, strict=False):
                name, old.name = old.name, f"{old.name}_before"
                new.name, new.type = name, old.type
                ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            model.graph.remove(node, safe=True)


class _Writer:
    """Writes nodes before one."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self.graph, self.node, self.count = graph, node, 0

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        self.count += 1
        made = ir.Node("", op_type, inputs, ir.convenience.convert_attributes(attributes))
        made.name = f"{self.node.name}_{op_type}_{self.count}"
        made.outputs[0].name = f"{made.name}_out"
        self.graph.insert_before(self.node, made)
        return made.outputs[0]

    def constant(self, array: np.ndarray) -> ir.Value:
        self.count += 1
        made = ir.Value(name=f"{self.node.name}_c{self.count}", const_value=ir.tensor(array))
        self.graph.register_initializer(made)
        return made


def beside_the_bundles(
    model: ir.Model, bundle: Bundle, graph: str, folder: Path
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what an engine's graph, in standard operators, and the bundle's own make of the same inputs."""
    save_model(model, folder / "standard.onnx")
    rng = np.random.default_rng(0)
    feeds = {}
    for tensor in bundle.manifest.graphs[graph].inputs:
        shape = [{"batch": 2, "steps": 5}.get(str(size), size) for size in tensor.shape]
        feeds[tensor.name] = (
            np.array([3]) if tensor.dtype == "int64" else rng.normal(size=shape).astype(tensor.dtype)
        )
    theirs, ours = (
        onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, feeds)
        for file in (folder / "standard.onnx", bundle.graph_path(graph))
    )
    yield from zip(theirs, ours, strict=True)


def _conv(write: _Writer, node: ir.Node) -> list[ir.Value]:
    source = write.op("Transpose", node.inputs[0], perm=[0, 3, 1, 2])
    kernels = write.op("Transpose", node.inputs[1], perm=[0, 3, 1, 2])
    names = ("dilations", "group", "kernel_shape", "pads", "strides")
    kept = {name: node.attributes[name].value for name in names if name in node.attributes}
    made = write.op("Conv", source, kernels, *node.inputs[2:], **kept)
    return [write.op("Transpose", made, perm=[0, 2, 3, 1])]


def _group_norm(write: _Writer, node: ir.Node) -> list[ir.Value]:
    source, scale, bias = node.inputs[:3]
    assert source is not None
    assert node.attributes["channels_last"].as_int() == 1
    shape = write.op("Shape", source)
    groups = node.attributes["groups"].as_int()
    split = write.op("Reshape", source, write.constant(np.array([0, -1, groups, _channels(scale) // groups])))
    split = write.op("Cast", split, to=int(ir.DataType.FLOAT))
    axes = write.constant(np.array([1, 3]))
    centred = write.op("Sub", split, write.op("ReduceMean", split, axes))
    variance = write.op("ReduceMean", write.op("Mul", centred, centred), axes)
    epsilon = write.constant(np.array(node.attributes["epsilon"].as_float(), np.float32))
    normed = write.op("Div", centred, write.op("Sqrt", write.op("Add", variance, epsilon)))
    made = write.op("Add", write.op("Mul", write.op("Reshape", normed, shape), scale), bias)
    if node.attributes["activation"].as_int():
        made = write.op("Mul", made, write.op("Sigmoid", made))
    return [write.op("Cast", made, to=int(source.dtype or ir.DataType.FLOAT))]


def _skip_group_norm(write: _Writer, node: ir.Node) -> list[ir.Value]:
    total = write.op("Add", node.inputs[0], node.inputs[3])
    if len(node.inputs) > 4:
        total = write.op("Add", total, node.inputs[4])
    total.type = node.outputs[0].type
    inner = ir.Node(VENDOR, "GroupNorm", [total, *node.inputs[1:3]], list(node.attributes.values()))
    inner.name = f"{node.name}_inner"
    made = _group_norm(write, inner)
    for place in range(3):
        inner.replace_input_with(place, None)
    return [*made, total]


def _split_gelu(write: _Writer, node: ir.Node) -> list[ir.Value]:
    added = write.op("Add", *node.inputs)
    width = node.inputs[1]
    assert width is not None
    half = _channels(width) // 2
    one, zero, end, axis = (write.constant(np.array([n])) for n in (half, 0, 2 * half, -1))
    left = write.op("Slice", added, zero, one, axis)
    return [write.op("Mul", left, write.op("Gelu", write.op("Slice", added, one, end, axis)))]


def _bias_add(write: _Writer, node: ir.Node) -> list[ir.Value]:
    return [write.op("Add", write.op("Add", *node.inputs[:2]), node.inputs[2])]


def _channels(value: ir.Value | None) -> int:
    assert value is not None
    assert value.const_value is not None
    return int(value.const_value.shape[0])  # type: ignore[arg-type]
