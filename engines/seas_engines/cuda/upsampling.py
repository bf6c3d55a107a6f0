"""Upsampling by two and the convolution behind it, as two convolutions of the small image.

Of the nine taps of a 3x3 kernel behind a nearest-neighbour upsampling by two, those that meet in one pixel
are added up. In columns the large image's two phases become channels, three taps wide; in rows they become
two convolutions, two taps high. That is 6/9 of the operations, and what is left to do is to lay the two
results' rows under each other. Splitting columns as well would take 4/9, but then every pixel moves.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.attention import DOMAIN
from seas_engines.cuda.values import AnyArray, array_of, computed, constant, is_weight, sizes
from seas_engines.matching import only_user
from seas_engines.phases import doubles, is_plain, merged


def split_upsampling(model: ir.Model) -> None:
    """Replace every upsampling by two with its 3x3 convolution, in place. All is channels last."""
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Resize":
            _split(graph, node)
    passes.RemoveUnusedNodesPass()(model)


def _split(graph: ir.Graph, resize: ir.Node) -> None:
    convolution = _behind(resize)
    source = resize.inputs[0]
    if convolution is None or source is None or source.shape is None:
        return
    weight, *biases = (value for value in convolution.inputs[1:] if value is not None)
    outputs, _, _, channels = sizes(weight)
    _, height, width, _ = source.shape
    if not isinstance(height, int) or not isinstance(width, int):
        return
    name, dtype = str(convolution.name), weight.dtype or ir.DataType.FLOAT
    doubled = [constant(graph, f"{value.name}_doubled", np.tile(array_of(value), 2)) for value in biases]
    made: list[ir.Node] = []

    def op(domain: str, op_type: str, inputs: list[ir.Value | None], **attributes: object) -> ir.Value:
        node = ir.Node(domain, op_type, inputs, ir.convenience.convert_attributes(attributes))
        node.name = f"{name}_{op_type.lower()}_{len(made)}"
        node.outputs[0].name, node.outputs[0].type = f"{node.name}_out", source.type
        made.append(node)
        return node.outputs[0]

    images = op("", "Shape", [source], start=0, end=1)
    once = op("", "Concat", [images, constant(graph, "ones", np.array([1, 1, 1], np.int64))], axis=0)
    images.type = once.type = ir.TensorType(ir.DataType.INT64)
    row_of_zeros = np.zeros((1, 1, width, channels), dtype.numpy())
    edge = op("", "Expand", [constant(graph, f"{name}_edge", row_of_zeros), once])
    rows: list[ir.Value | None] = []
    for row in (0, 1):
        kernels = computed(
            graph,
            f"{weight.name}_row{row}",
            dtype,
            (2 * outputs, 2, 3, channels),
            lambda row=row: _phase_kernels(array_of(weight), row),  # type: ignore[misc]
        )
        # cuDNN wants as much padding above as below, and the provider's Pad is slow: a row joins the image.
        padded = op("", "Concat", [edge, source] if row == 0 else [source, edge], axis=1)
        found = op(DOMAIN, "NhwcConv", [padded, kernels, *doubled], kernel_shape=[2, 3], pads=[0, 1, 0, 1])
        found.shape = ir.Shape([source.shape[0], height, width, 2 * outputs])
        shape = constant(graph, "sizes", np.array([0, height, 1, 2 * width * outputs], np.int64))
        rows.append(op("", "Reshape", [found, shape]))
    joined = op("", "Concat", rows, axis=2)
    shape = constant(graph, "sizes", np.array([0, 2 * height, 2 * width, outputs], np.int64))
    result, old = op("", "Reshape", [joined, shape]), convolution.outputs[0]
    result.shape = old.shape
    graph.insert_after(convolution, made)
    ir.convenience.replace_all_uses_with(old, result)
    graph.remove(convolution, safe=True)


def _behind(resize: ir.Node) -> ir.Node | None:
    """Return the 3x3 convolution that alone reads a nearest-neighbour upsampling by two, if it is one."""
    convolution = only_user(resize.outputs[0], "NhwcConv")
    if convolution is None or not doubles(resize, [1, 2, 2, 1]) or not is_plain(convolution):
        return None
    if not all(map(is_weight, convolution.inputs[1:])) or convolution.outputs[0].is_graph_output():
        return None
    weight = convolution.inputs[1]
    return convolution if weight is not None and sizes(weight)[1:3] == [3, 3] else None


def _phase_kernels(taps: AnyArray, row: int) -> AnyArray:
    """Return kernels [2O,2,3,I] of kernels [O,3,3,I]: one phase of rows; even columns come before odd."""
    rows = np.stack(merged(taps.astype(np.float32), row, axis=1), axis=1)
    left, centre = merged(rows, 0, axis=2)
    even = np.stack([left, centre, np.zeros_like(left)], axis=2)
    centre, right = merged(rows, 1, axis=2)
    odd = np.stack([np.zeros_like(right), centre, right], axis=2)
    return np.concatenate([even, odd]).astype(taps.dtype)
