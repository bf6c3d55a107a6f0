"""A convolution's bias goes to the norm of a sum that reads it: cuDNN's fastest convolutions have none.

With a bias, cuDNN compiles a kernel of its own for every size, which takes seconds and runs slower than the
ones it ships; adding it afterwards reads and writes the whole image once more. ONNX Runtime's norms of a sum
take a bias along for nothing. Where a norm would become one of a sum only for it, that is worth it for layer
norms, whose kernel without a sum is the slower one, and not for group norms.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.cuda.operators import skip_layer_norm
from seas_engines.graphs.surgery import array_of, computed, constant, is_weight, only_user, sizes

_BIAS = 4  # of SkipGroupNorm's inputs


def move_biases(model: ir.Model) -> None:
    """Move the biases of convolutions into the norms behind them, in place, where those take one along.

    The model has been through `fuse`.
    """
    graph = model.graph
    for node in list(graph):
        if node.op_type == "NhwcConv" and len(node.inputs) == 3 and _move(graph, node):
            node.resize_inputs(2)
    passes.RemoveUnusedNodesPass()(model)


def _move(graph: ir.Graph, convolution: ir.Node) -> bool:
    """Let a norm add a convolution's bias; returns whether one does."""
    bias, value = convolution.inputs[2], convolution.outputs[0]
    if not is_weight(bias):
        return False
    norm = only_user(value, "SkipGroupNorm")
    if norm is not None:
        _add(graph, norm, bias)
        return True
    tokens = only_user(value, "Reshape")
    return tokens is not None and _with_layer_norm(graph, tokens.outputs[0], bias)


def _add(graph: ir.Graph, norm: ir.Node, bias: ir.Value) -> None:
    """Give a group norm of a sum a bias, or one more: two convolutions may make the sum."""
    before = norm.inputs[_BIAS] if len(norm.inputs) > _BIAS else None
    if before is not None:
        both = array_of(before).astype(np.float32) + array_of(bias).astype(np.float32)
        bias = constant(graph, f"{norm.name}_biases", both.astype(array_of(bias).dtype))
    norm.resize_inputs(_BIAS + 1)
    norm.replace_input_with(_BIAS, bias)


def _with_layer_norm(graph: ir.Graph, tokens: ir.Value, bias: ir.Value) -> bool:
    """Let the layer norm of a convolution's result [B,N,C] be one of a sum, with nothing but the bias to add.

    Whoever else reads the result reads that sum.
    """
    norm = next((use.node for use in tokens.uses() if use.node.op_type == "LayerNormalization"), None)
    shape = list(tokens.shape) if tokens.shape is not None else []
    if norm is None or len(norm.inputs) != 3 or tokens.is_graph_output():
        return False
    if len(shape) != 3 or shape[2] != sizes(bias)[0]:
        return False
    count, width = shape[1:]
    if not isinstance(count, int) or not isinstance(width, int):
        return False
    dtype = bias.dtype or ir.DataType.FLOAT
    nothing = computed(
        graph,
        f"nothing_{count}_{width}_{dtype.name}",
        dtype,
        (1, count, width),
        lambda: np.zeros((1, count, width), dtype.numpy()),
    )
    skip_layer_norm(graph, norm, [tokens, nothing], [bias], tokens)
    return True
