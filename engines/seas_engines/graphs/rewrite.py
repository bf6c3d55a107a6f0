"""Says the same in other operators: attention and group norm whole, or in the pieces that a target reads.

A bundle's graphs hold attention as ONNX Runtime's own MultiHeadAttention or as two matrix products around a
softmax, and group norm as an instance norm between reshapes. Compilers do best with both whole, where they
know the operator; where they do not, with pieces that carry no operator of another vendor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.attention import DOMAIN, PIECES, fuse_attention
from seas_engines.graphs.matching import only_user, producer

ATTENTION_OPSET, GROUP_NORM_OPSET = 23, 21
"""The operator sets that brought Attention and GroupNormalization (in its per-channel form)."""


class Form(str, Enum):
    """How attention and group norm are written."""

    PIECES = "pieces"
    WHOLE = "whole"
    VENDOR = "vendor"
    """ONNX Runtime's own operators, which `seas_engines.graphs.cuda` completes."""


def rewrite(model: ir.Model, opset: int, attention: Form, group_norm: Form) -> None:
    """Write a model for an operator set and in the forms asked for, in place.

    The graphs that export writes use no operator whose meaning changed from opset 18 to 23, so that raising
    the number is all that it takes; ValueError for a form that the operator set does not have, and for
    lowering it below what the model was written in.
    """
    written = model.opset_imports[""]
    if opset < written:
        raise ValueError(f"expected an opset of {written} or more, found {opset}")
    if attention is Form.WHOLE and opset < ATTENTION_OPSET:
        raise ValueError(f"whole attention needs opset {ATTENTION_OPSET}, found {opset}")
    if group_norm is Form.WHOLE and opset < GROUP_NORM_OPSET:
        raise ValueError(f"whole group norm needs opset {GROUP_NORM_OPSET}, found {opset}")
    model.graph.opset_imports[""] = opset
    if attention is Form.VENDOR:
        fuse_attention(model)
    else:
        for node in list(model.graph):
            if node.domain == DOMAIN and node.op_type == "MultiHeadAttention":
                _replace_attention(model.graph, node, attention)
    if group_norm is Form.WHOLE:
        _join_group_norms(model.graph, ranks=(4,))
    elif group_norm is Form.VENDOR:
        _join_group_norms(model.graph, ranks=(3, 4), even=True)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)


def cast_last(model: ir.Model) -> None:
    """Swap `Transpose(Cast(x))` at a graph's output for `Cast(Transpose(x))`, in place.

    TensorRT has bytes at its outputs only, not between operators.
    """
    graph = model.graph
    for output in list(graph.outputs):
        turn = producer(output, "Transpose")
        cast = producer(turn.inputs[0], "Cast") if turn is not None else None
        if turn is None or cast is None or len(cast.outputs[0].uses()) != 1:
            continue
        source, wide = cast.inputs[0], turn.inputs[0]
        assert source is not None
        assert wide is not None
        turned = ir.Node("", "Transpose", [source], list(turn.attributes.values()), name=str(turn.name))
        turned.outputs[0].type, turned.outputs[0].shape = source.type, output.shape
        turned.outputs[0].name = f"{output.name}_wide"
        last = ir.Node("", "Cast", [turned.outputs[0]], list(cast.attributes.values()), name=str(cast.name))
        new = last.outputs[0]
        new.type, new.shape = output.type, output.shape
        new.name, output.name = output.name, f"{output.name}_before"
        graph.insert_after(turn, [turned, last])
        ir.convenience.replace_all_uses_with(output, new, replace_graph_outputs=True)
        graph.remove(turn, safe=True)
        graph.remove(cast, safe=True)


def _replace_attention(graph: ir.Graph, node: ir.Node, form: Form) -> None:
    """Replace a MultiHeadAttention over [B,N,heads*d] queries, keys and values."""
    heads = node.attributes["num_heads"].as_int()
    result = node.outputs[0]
    if form is Form.WHOLE:
        attributes = [ir.AttrInt64("q_num_heads", heads), ir.AttrInt64("kv_num_heads", heads)]
        if "scale" in node.attributes:
            attributes.append(ir.AttrFloat32("scale", node.attributes["scale"].as_float()))
        made = ir.Node("", "Attention", node.inputs, attributes, name=f"{node.name}_attention")
        graph.insert_after(node, made)
    else:
        made = _attention_in_pieces(graph, node, heads)
    new = made.outputs[0]
    new.type, new.shape = result.type, result.shape
    name, result.name = result.name, f"{result.name}_before"
    new.name = name
    ir.convenience.replace_all_uses_with(result, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _attention_in_pieces(graph: ir.Graph, node: ir.Node, heads: int) -> ir.Node:
    """Return the last node of reshape, transpose, product, softmax, product, transpose, reshape."""
    query, key, value = node.inputs[:3]
    assert query is not None
    assert key is not None
    assert value is not None
    width = query.shape[2] if query.shape is not None else None
    if not isinstance(width, int):
        raise ValueError(f"{node.name}: attention of unknown width")
    depth = width // heads
    scale = node.attributes["scale"].as_float() if "scale" in node.attributes else 1 / math.sqrt(depth)
    stem = str(node.name)
    dtype = (query.dtype or ir.DataType.FLOAT).numpy()

    def constant(name: str, array: np.ndarray) -> ir.Value:
        made = ir.Value(name=f"{stem}_{name}", const_value=ir.tensor(array), shape=ir.Shape(array.shape))
        made.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        graph.register_initializer(made)
        return made

    last, count = node, 0

    def op(op_type: str, *inputs: ir.Value, **attributes: int | list[int]) -> ir.Value:
        nonlocal last, count
        count += 1
        made = ir.Node("", op_type, inputs, ir.convenience.convert_attributes(attributes))
        made.name = f"{stem}_{op_type.lower()}_{count}"
        made.outputs[0].name = f"{made.name}_out"
        made.outputs[0].type = query.type
        graph.insert_after(last, made)
        last = made
        return made.outputs[0]

    split = constant("heads", np.array([0, 0, heads, depth], np.int64))
    joined = constant("width", np.array([0, 0, width], np.int64))
    # Half the scale on either side, as PyTorch does: products of unscaled halves overflow first.
    root = constant("scale", np.array(math.sqrt(scale), dtype))
    queries = op("Mul", op("Transpose", op("Reshape", query, split), perm=[0, 2, 1, 3]), root)
    keys = op("Mul", op("Transpose", op("Reshape", key, split), perm=[0, 2, 3, 1]), root)
    values = op("Transpose", op("Reshape", value, split), perm=[0, 2, 1, 3])
    weights = op("Softmax", op("MatMul", queries, keys), axis=-1)
    mixed = op("Transpose", op("MatMul", weights, values), perm=[0, 2, 1, 3])
    op("Reshape", mixed, joined)
    return last


def _join_group_norms(graph: ir.Graph, ranks: Sequence[int], even: bool = False) -> None:
    """Write group norms of tensors of some ranks whole; with `even`, those of an even number of channels a
    group, since ONNX Runtime's kernel takes channels in pairs."""
    for node in list(graph):
        if node.op_type == "InstanceNormalization":
            _join_group_norm(graph, node, ranks, even)


def _join_group_norm(graph: ir.Graph, norm: ir.Node, ranks: Sequence[int], even: bool) -> bool:
    """Join reshape [N,G,-1], instance norm by ones and zeros, reshape back, times scale, plus bias."""
    split = producer(norm.inputs[0], "Reshape")
    back = only_user(norm.outputs[0], "Reshape")
    if (
        split is None
        or back is None
        or not _is_constant(norm.inputs[1], 1)
        or not _is_constant(norm.inputs[2], 0)
    ):
        return False
    source = split.inputs[0]
    groups = _size(norm.inputs[1])
    product = only_user(back.outputs[0], "Mul")
    total = only_user(product.outputs[0], "Add") if product is not None else None
    if source is None or source.shape is None or product is None or total is None or groups is None:
        return False
    channels = source.shape[1]
    scale, bias = (_other(product, back.outputs[0]), _other(total, product.outputs[0]))
    rank = len(source.shape)
    if rank not in ranks or not isinstance(channels, int) or (even and channels // groups % 2):
        return False
    if not all(_per_channel(value, channels, rank) for value in (scale, bias)):
        return False
    assert scale is not None
    assert bias is not None
    made = ir.Node(
        "",
        "GroupNormalization",
        [source, _flat(graph, scale), _flat(graph, bias)],
        [
            ir.AttrInt64("num_groups", groups),
            ir.AttrFloat32("epsilon", norm.attributes["epsilon"].as_float()),
        ],
        name=f"{norm.name}_group",
    )
    made.meta[PIECES] = frozenset(str(node.name) for node in (split, norm, back, product, total))
    old, new = total.outputs[0], made.outputs[0]
    new.type, new.shape = old.type, old.shape or source.shape
    new.name, old.name = old.name, f"{old.name}_before"
    graph.insert_after(total, made)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    for node in (total, product, back, norm):
        graph.remove(node, safe=True)
    return True


def _flat(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """Return a per-channel weight [C,1,1] as [C]."""
    name = f"{value.name}_flat"
    if name in graph.initializers:
        return graph.initializers[name]
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    flat = ir.tensor(tensor.numpy().reshape(-1))
    made = ir.Value(name=name, const_value=flat, shape=flat.shape, type=ir.TensorType(flat.dtype))
    graph.register_initializer(made)
    return made


def _per_channel(value: ir.Value | None, channels: int, rank: int) -> bool:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor is not None and tuple(tensor.shape) == (channels, *[1] * (rank - 2))


def _is_constant(value: ir.Value | None, number: float) -> bool:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor is not None and bool((tensor.numpy() == number).all())


def _size(value: ir.Value | None) -> int | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor.size if tensor is not None else None


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]
