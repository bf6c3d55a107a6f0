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

_PLAIN = {"pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1]}


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
    scales = resize.inputs[2] if len(resize.inputs) == 3 else None
    modes = [
        resize.attributes[name].as_string() if name in resize.attributes else None
        for name in ("mode", "nearest_mode", "coordinate_transformation_mode")
    ]
    convolution = only_user(resize.outputs[0], "NhwcConv")
    if scales is None or not is_weight(scales) or array_of(scales).tolist() != [1, 2, 2, 1]:
        return None
    if modes != ["nearest", "floor", "asymmetric"] or convolution is None:
        return None
    if not all(map(is_weight, convolution.inputs[1:])) or convolution.outputs[0].is_graph_output():
        return None
    weight, found = convolution.inputs[1], convolution.attributes
    square = weight is not None and sizes(weight)[1:3] == [3, 3]
    plain = all(name in found and list(found[name].as_ints()) == _PLAIN[name] for name in _PLAIN)
    return convolution if square and plain else None


def _phase_kernels(taps: AnyArray, row: int) -> AnyArray:
    """Return kernels [2O,2,3,I] of kernels [O,3,3,I]: one phase of rows; even columns come before odd."""
    above, middle, below = np.moveaxis(taps.astype(np.float32), 1, 0)
    rows = np.stack([above, middle + below] if row == 0 else [above + middle, below], axis=1)
    left, centre, right = np.moveaxis(rows, 2, 0)
    none = np.zeros_like(left)
    even = np.stack([left, centre + right, none], axis=2)
    odd = np.stack([none, left + centre, right], axis=2)
    return np.concatenate([even, odd]).astype(taps.dtype)
