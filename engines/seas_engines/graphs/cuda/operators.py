"""ONNX Runtime's own operators in the place of others; its norms of a sum, which give that out too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from seas_engines.graphs.surgery import DOMAIN, make_node, replace


def swap(
    graph: ir.Graph,
    old: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    outputs: int = 1,
    domain: str = DOMAIN,
) -> ir.Node:
    """Put a node in the place of another, its first output for that one's; returns it."""
    name = f"{old.name}_{op_type.lower()}"
    results = [f"{name}_out{place}" for place in range(outputs)]
    made = make_node(op_type, inputs, attributes, name=name, results=results, domain=domain)
    replace(graph, old, made, named=False)
    return made


def skip_group_norm(
    graph: ir.Graph, norm: ir.Node, first: ir.Value, second: ir.Value, total: ir.Value
) -> None:
    """Put a norm of `first` plus `second` in a group norm's place; other readers of `total` read its sum."""
    inputs = [first, *norm.inputs[1:3], second]
    made = swap(graph, norm, "SkipGroupNorm", inputs, norm.attributes, outputs=2)
    _give_sum(graph, made, made.outputs[1], total)


def skip_layer_norm(
    graph: ir.Graph, norm: ir.Node, parts: Sequence[ir.Value], bias: Sequence[ir.Value], total: ir.Value
) -> None:
    """Put a norm of the sum of two `parts` in a layer norm's place; other readers of `total` read its sum.

    `bias` [C] is added too, where there is one.
    """
    inputs = [*parts, *norm.inputs[1:3], *bias]
    epsilon = {"epsilon": norm.attributes["epsilon"].as_float()}
    made = swap(graph, norm, "SkipLayerNormalization", inputs, epsilon, outputs=4)
    _give_sum(graph, made, made.outputs[3], total)
    for output in made.outputs[1:]:
        if not output.uses():
            output.name = ""


def _give_sum(graph: ir.Graph, made: ir.Node, result: ir.Value, total: ir.Value) -> None:
    """Let whoever else reads `total`, no graph output, read `result` of the node."""
    readers = [use for use in total.uses() if use.node is not made]
    producer = total.producer()
    if not readers or producer is None:
        return
    # They must come after the node that computes it now.
    result.name, result.type, result.shape = f"{made.name}_sum", total.type, total.shape
    graph.remove(made)
    graph.insert_after(producer, made)
    for use in readers:
        use.node.replace_input_with(use.idx, result)
