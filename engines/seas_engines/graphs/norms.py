"""Group norm as one node, where a graph has it as an instance norm between reshapes."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from seas_engines.graphs.surgery import (
    PIECES,
    array_of,
    computed,
    is_weight,
    make_node,
    only_user,
    producer,
    replace,
    sizes,
)


def join_group_norms(graph: ir.Graph, ranks: Sequence[int], *, even: bool = False) -> None:
    """Write group norms of tensors of some ranks whole (`GroupNormalization`), in place.

    With `even`, those of an even number of channels a group alone: ONNX Runtime's kernel takes them in pairs.
    """
    for node in list(graph):
        if node.op_type == "InstanceNormalization":
            _join(graph, node, ranks, even)


def _join(graph: ir.Graph, norm: ir.Node, ranks: Sequence[int], even: bool) -> None:
    """Join reshape [N,G,-1], instance norm by ones and zeros, reshape back, times scale, plus bias."""
    split = producer(norm.inputs[0], "Reshape")
    back = only_user(norm.outputs[0], "Reshape")
    ones, zeros = norm.inputs[1:3]
    if split is None or back is None or not (is_weight(ones) and _is_all(ones, 1) and _is_all(zeros, 0)):
        return
    product = only_user(back.outputs[0], "Mul")
    total = only_user(product.outputs[0], "Add") if product is not None else None
    source = split.inputs[0]
    if source is None or source.shape is None or product is None or total is None:
        return
    channels, rank, (groups,) = source.shape[1], len(source.shape), sizes(ones)
    if rank not in ranks or not isinstance(channels, int) or (even and channels // groups % 2):
        return
    weights = [_other(product, back.outputs[0]), _other(total, product.outputs[0])]
    column = [channels, *[1] * (rank - 2)]
    per_channel = [value for value in weights if is_weight(value) and sizes(value) == column]
    if len(per_channel) != 2:
        return
    made = make_node(
        "GroupNormalization",
        [source, *(_flat(graph, value) for value in per_channel)],
        {"num_groups": groups, "epsilon": norm.attributes["epsilon"].as_float()},
        name=f"{norm.name}_group",
        like=source,
    )
    pieces = (split, norm, back, product, total)
    made.meta[PIECES] = frozenset(str(node.name) for node in pieces)
    replace(graph, total, made, also=(product, back, norm))


def _is_all(value: ir.Value | None, number: float) -> bool:
    return is_weight(value) and bool((array_of(value) == number).all())


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def _flat(graph: ir.Graph, weight: ir.Value) -> ir.Value:
    """Return a per-channel weight [C,1,1] as [C]."""
    shape = [sizes(weight)[0]]
    return computed(graph, f"{weight.name}_flat", weight.dtype, shape, lambda: array_of(weight).reshape(-1))
