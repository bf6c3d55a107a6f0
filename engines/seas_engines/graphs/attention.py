"""Attention as one node, for ONNX Runtime, as the standard's, or in pieces.

PyTorch's scaled dot-product attention leaves the tracer as two matrix products around a softmax, which write
and read the whole score matrix. ONNX Runtime's MultiHeadAttention computes it in tiles that stay in the
cache: on a processor a quarter to a third less time for the self-attention of 1024 and more pixels, which is
most of the attention's cost; on a GPU it is flash attention.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import (
    DOMAIN,
    PIECES,
    Writer,
    constant,
    make_node,
    number,
    only_user,
    producer,
    replace,
    untransposed,
)

_HEADS_FIRST = [0, 2, 1, 3]  # turns [B,N,heads,d] to [B,heads,N,d], and back


def fuse_attention(model: ir.Model) -> int:
    """Replace every attention over [B,heads,N,d] by a MultiHeadAttention node, in place; returns how many."""
    graph = model.graph
    fused = sum(_fuse(graph, node) for node in list(graph) if node.op_type == "Softmax")
    if fused:
        model.opset_imports[DOMAIN] = 1
        passes.RemoveUnusedNodesPass()(model)
    return fused


def write_attention(model: ir.Model, *, whole: bool) -> None:
    """Write every MultiHeadAttention as the standard's Attention, or in pieces, in place."""
    for node in list(model.graph):
        if node.domain == DOMAIN and node.op_type == "MultiHeadAttention":
            (_write_whole if whole else _write_in_pieces)(model.graph, node)


def _fuse(graph: ir.Graph, softmax: ir.Node) -> bool:
    """Match MatMul(query * s, keyT * s) -> softmax -> MatMul(., value) -> transpose -> reshape to [B,N,C]."""
    scores = producer(softmax.inputs[0], "MatMul")
    mixed = only_user(softmax.outputs[0], "MatMul")
    if scores is None or mixed is None or mixed.inputs[0] is not softmax.outputs[0]:
        return False
    query, query_scale = _scaled(scores.inputs[0])
    key, key_scale = _scaled(scores.inputs[1])
    inputs = [_joined_heads(value) for value in (query, untransposed(key, [0, 1, 3, 2]), mixed.inputs[1])]
    back = only_user(mixed.outputs[0], "Transpose")
    if any(value is None for value in inputs) or back is None:
        return False
    joined = only_user(back.outputs[0], "Reshape")
    if untransposed(back.outputs[0], _HEADS_FIRST) is None or joined is None:
        return False
    heads = query.shape[1] if query is not None and query.shape is not None else None
    if joined.outputs[0].is_graph_output() or not isinstance(heads, int):
        return False
    scales = {"num_heads": heads, "scale": query_scale * key_scale}
    attention = make_node("MultiHeadAttention", inputs, scales, domain=DOMAIN)
    pieces = (scores, softmax, mixed, back, joined)
    attention.meta[PIECES] = frozenset(str(node.name) for node in pieces)
    replace(graph, joined, attention)
    return True


def _scaled(value: ir.Value | None) -> tuple[ir.Value | None, float]:
    """Return what is multiplied by a constant, and the constant; otherwise the value itself, and one."""
    product = producer(value, "Mul")
    for source, other in (product.inputs, reversed(product.inputs)) if product is not None else ():
        factor = number(other)
        if factor is not None:
            return source, factor
    return value, 1.0


def _joined_heads(value: ir.Value | None) -> ir.Value | None:
    """Return the [B,N,heads*d] behind a [B,heads,N,d]."""
    split = producer(untransposed(value, _HEADS_FIRST), "Reshape")
    source = split.inputs[0] if split is not None else None
    return source if source is not None and source.shape is not None and len(source.shape) == 3 else None


def _write_whole(graph: ir.Graph, node: ir.Node) -> None:
    heads, scale = node.attributes.get_int("num_heads"), node.attributes.get_float("scale")
    attributes = {"q_num_heads": heads, "kv_num_heads": heads} | ({} if scale is None else {"scale": scale})
    replace(graph, node, make_node("Attention", node.inputs, attributes, name=f"{node.name}_attention"))


def _write_in_pieces(graph: ir.Graph, node: ir.Node) -> None:
    """Write reshape, transpose, product, softmax, product, transpose, reshape over [B,N,heads*d]."""
    query, key, value = node.inputs[:3]
    width = query.shape[2] if query is not None and query.shape is not None else None
    if query is None or not isinstance(width, int):
        raise ValueError(f"{node.name}: attention of unknown width")
    heads = node.attributes["num_heads"].as_int()
    depth = width // heads
    scale = node.attributes.get_float("scale", 1 / math.sqrt(depth))
    dtype = (query.dtype or ir.DataType.FLOAT).numpy()
    split = constant(graph, f"{node.name}_heads", np.array([0, 0, heads, depth], np.int64))
    joined = constant(graph, f"{node.name}_width", np.array([0, 0, width], np.int64))
    # Half the scale on either side, as PyTorch does: products of unscaled queries and keys overflow first.
    root = constant(graph, f"{node.name}_scale", np.array(math.sqrt(scale), dtype))
    write = Writer(str(node.name), like=query)
    op = write.op
    queries = op("Mul", op("Transpose", op("Reshape", query, split), perm=_HEADS_FIRST), root)
    keys = op("Mul", op("Transpose", op("Reshape", key, split), perm=[0, 2, 3, 1]), root)
    values = op("Transpose", op("Reshape", value, split), perm=_HEADS_FIRST)
    weights = op("Softmax", op("MatMul", queries, keys), axis=-1)
    mixed = op("Transpose", op("MatMul", weights, values), perm=_HEADS_FIRST)
    op("Reshape", mixed, joined)
    replace(graph, node, *write.made)
