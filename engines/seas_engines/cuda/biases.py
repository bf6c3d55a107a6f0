"""A convolution's bias goes to the norm that reads it: cuDNN's fastest convolutions have none.

With a bias, cuDNN compiles a kernel of its own for every size, which takes seconds and runs slower than the
ones it ships; adding it afterwards reads and writes the whole image once more. ONNX Runtime's norms of a sum
take a bias along for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.attention import DOMAIN
from seas_engines.cuda.fusion import BIAS_ADD_WIDTHS
from seas_engines.cuda.values import array_of, computed, constant, is_weight, sizes
from seas_engines.matching import only_user

_BIAS, _SUM = 4, 1  # of SkipGroupNorm: an input, and an output
_BIAS_OF_RESIDUAL = 1  # of BiasAdd: an input


def move_biases(model: ir.Model) -> None:
    """Move the biases of convolutions into the norms or sums behind them that take one along, in place.

    Convolutions of one pixel that have none become matrix products. The model has been through `fuse`.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type == "NhwcConv" and len(node.inputs) == 3 and _move(graph, node):
            node.resize_inputs(2)
    for node in list(graph):
        if node.op_type == "NhwcConv" and len(node.inputs) == 2 and _is_of_one_pixel(node):
            _as_product(graph, node)
    passes.RemoveUnusedNodesPass()(model)


def _move(graph: ir.Graph, convolution: ir.Node) -> bool:
    """Let a norm add a convolution's bias; returns whether one does."""
    bias, value = convolution.inputs[2], convolution.outputs[0]
    if not is_weight(bias) or bias is None or value.is_graph_output():
        return False
    norm = only_user(value, "SkipGroupNorm")
    if norm is not None:
        return _into_sum(graph, norm, _BIAS, bias)
    total = only_user(value, "Add")
    if total is not None:
        return _into_residual(graph, total, value, bias)
    reshaped = only_user(value, "Reshape")
    read = reshaped.outputs[0] if reshaped is not None else value
    if read.is_graph_output():
        return False
    added = only_user(read, "BiasAdd")
    if added is not None:
        return _into_sum(graph, added, _BIAS_OF_RESIDUAL, bias)
    rules: dict[str, Callable[[ir.Graph, ir.Node, ir.Value, ir.Value], bool]] = {
        "GroupNorm": _with_group_norm,
        "LayerNormalization": _with_layer_norm,
    }
    for user in [use.node for use in read.uses()]:
        if user.op_type in rules and user.inputs[0] is read:
            return rules[user.op_type](graph, user, read, bias)
    return False


def _into_sum(graph: ir.Graph, node: ir.Node, place: int, bias: ir.Value) -> bool:
    """What adds two values has a place for a bias, which two convolutions may share."""
    before = node.inputs[place] if len(node.inputs) > place else None
    if before is not None:
        both = array_of(before).astype(np.float32) + array_of(bias).astype(np.float32)
        bias = constant(graph, f"{node.name}_biases", both.astype(array_of(bias).dtype))
    node.resize_inputs(max(place + 1, len(node.inputs)))
    node.replace_input_with(place, bias)
    return True


def _into_residual(graph: ir.Graph, total: ir.Node, read: ir.Value, bias: ir.Value) -> bool:
    """A residual plus what a convolution gave becomes BiasAdd, which knows three axes: all pixels in one."""
    other = next((value for value in total.inputs if value is not read), None)
    shape = list(read.shape) if read.shape is not None else []
    if other is None or other.shape is None or other.is_initializer() or len(shape) != 4:
        return False
    if list(other.shape[1:]) != shape[1:] or sizes(bias)[0] not in BIAS_ADD_WIDTHS:
        return False
    if not all(isinstance(size, int) for size in shape[1:]):
        return False
    rows = constant(graph, "sizes", np.array([0, shape[1] * shape[2], shape[3]], np.int64))
    image = constant(graph, "sizes", np.array([0, *shape[1:]], np.int64))
    flat = [ir.Node("", "Reshape", [value, rows]) for value in (read, other)]
    added = ir.Node(DOMAIN, "BiasAdd", [flat[0].outputs[0], bias, flat[1].outputs[0]])
    back = ir.Node("", "Reshape", [added.outputs[0], image])
    for place, node in enumerate((*flat, added, back)):
        node.name = f"{total.name}_{node.op_type.lower()}_{place}"
        node.outputs[0].name, node.outputs[0].type = f"{node.name}_out", read.type
    old, new = total.outputs[0], back.outputs[0]
    new.shape = old.shape
    if old.is_graph_output():
        old.name, new.name = f"{old.name}_before", old.name
    graph.insert_after(total, [*flat, added, back])
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(total, safe=True)
    return True


def _with_group_norm(graph: ir.Graph, norm: ir.Node, read: ir.Value, bias: ir.Value) -> bool:
    """GroupNorm becomes one of a sum: of the image, and a value per image and channel."""
    if len(read.shape or ()) != 4:
        return False
    images = ir.Node("", "Shape", [read], ir.convenience.convert_attributes({"start": 0, "end": 1}))
    one = constant(graph, "one_column", np.array([1], np.int64))
    shape = ir.Node("", "Concat", [images.outputs[0], one], [ir.AttrInt64("axis", 0)])
    row = computed(
        graph,
        f"{bias.name}_row",
        bias.dtype or ir.DataType.FLOAT,
        (1, *sizes(bias)),
        lambda: array_of(bias)[None],
    )
    rows = ir.Node("", "Expand", [row, shape.outputs[0]])
    inputs = [read, *norm.inputs[1:3], rows.outputs[0]]
    made = ir.Node(DOMAIN, "SkipGroupNorm", inputs, list(norm.attributes.values()), num_outputs=2)
    rows.outputs[0].type = read.type
    rows.outputs[0].shape = ir.Shape([None, sizes(bias)[0]])
    _put(graph, norm, read, [images, shape, rows, made], made.outputs[_SUM])
    return True


def _with_layer_norm(graph: ir.Graph, norm: ir.Node, read: ir.Value, bias: ir.Value) -> bool:
    """LayerNormalization becomes one of a sum, with nothing but the bias to add."""
    shape = list(read.shape) if read.shape is not None else []
    if len(shape) != 3 or len(norm.inputs) != 3 or shape[2] != sizes(bias)[0]:
        return False
    if not isinstance(shape[1], int) or not isinstance(shape[2], int):
        return False
    dtype, (tokens, width) = bias.dtype or ir.DataType.FLOAT, (shape[1], shape[2])
    nothing = computed(
        graph,
        f"nothing_{tokens}_{width}_{dtype.name}",
        dtype,
        (1, tokens, width),
        lambda: np.zeros((1, tokens, width), dtype.numpy()),
    )
    attributes = [ir.AttrFloat32("epsilon", norm.attributes["epsilon"].as_float())]
    inputs = [read, nothing, *norm.inputs[1:3], bias]
    made = ir.Node(DOMAIN, "SkipLayerNormalization", inputs, attributes, num_outputs=4)
    _put(graph, norm, read, [made], made.outputs[3])
    for place in (1, 2):
        made.outputs[place].name = ""
    return True


def _put(graph: ir.Graph, norm: ir.Node, read: ir.Value, nodes: list[ir.Node], total: ir.Value) -> None:
    """Put nodes, the last of them a norm of a sum, in a norm's place; its input's readers read `total`."""
    producer = read.producer()
    assert producer is not None
    made = nodes[-1]
    for node in nodes:
        node.name = f"{norm.name}_{node.op_type.lower()}"
        for place, value in enumerate(node.outputs):
            value.name = f"{node.name}_out{place}"
    total.type, total.shape = read.type, read.shape
    result, normed = norm.outputs[0], made.outputs[0]
    normed.type, normed.shape = result.type, result.shape
    if result.is_graph_output():
        result.name, normed.name = f"{result.name}_before", result.name
    ir.convenience.replace_all_uses_with(result, normed, replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    for use in list(read.uses()):
        if use.node not in nodes:
            use.node.replace_input_with(use.idx, total)
    graph.insert_after(producer, nodes)


def _is_of_one_pixel(convolution: ir.Node) -> bool:
    _, height, width, _ = sizes(convolution.inputs[1]) if convolution.inputs[1] is not None else [0] * 4
    plain = {"strides": {1}, "dilations": {1}, "pads": {0}}
    found = convolution.attributes
    return height == width == 1 and all(
        set(found[name].as_ints()) == numbers for name, numbers in plain.items() if name in found
    )


def _as_product(graph: ir.Graph, convolution: ir.Node) -> None:
    """[B,H,W,I] times [I,O]."""
    source, weight = convolution.inputs
    assert source is not None
    assert weight is not None
    outputs, _, _, channels = sizes(weight)
    matrix = computed(
        graph,
        f"{weight.name}_matrix",
        weight.dtype or ir.DataType.FLOAT,
        (channels, outputs),
        lambda: array_of(weight).reshape(outputs, channels).T,
    )
    made = ir.Node("", "MatMul", [source, matrix], name=f"{convolution.name}_product")
    old, new = convolution.outputs[0], made.outputs[0]
    new.name, new.type, new.shape = f"{made.name}_out", old.type, old.shape
    graph.insert_after(convolution, made)
    ir.convenience.replace_all_uses_with(old, new)
    graph.remove(convolution, safe=True)
