"""Putting nodes of ONNX Runtime's own operators in the place of others."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from seas_engines.graphs.attention import DOMAIN


def vendor_node(
    op_type: str, inputs: Sequence[ir.Value | None], attributes: Sequence[ir.Attr] = (), outputs: int = 1
) -> ir.Node:
    """Return a node of the provider's own domain, in no graph yet."""
    return ir.Node(DOMAIN, op_type, inputs, attributes, num_outputs=outputs)


def swap(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put a node in the place of another, for the first of its results."""
    new.name = f"{old.name}_{new.op_type.lower()}"
    graph.insert_after(old, new)
    for place, value in enumerate(new.outputs):
        value.name = f"{new.name}_out{place}"
    take_over(graph, old.outputs[0], new.outputs[0])
    graph.remove(old, safe=True)


def take_over(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let all that reads `old` read `new`, a graph output under its own name."""
    new.type, new.shape = old.type, old.shape
    if old.is_graph_output():
        old.name, new.name = f"{old.name}_before", old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def skip_layer_norm(
    graph: ir.Graph, norm: ir.Node, parts: Sequence[ir.Value], bias: Sequence[ir.Value], total: ir.Value
) -> None:
    """Put a norm of a sum in a layer norm's place; who else reads `total` reads the sum that it computes.

    `parts` are the two that it adds up, `bias` [C] is added too where there is one.
    """
    epsilon = ir.AttrFloat32("epsilon", norm.attributes["epsilon"].as_float())
    inputs = [*parts, *norm.inputs[1:3], *bias]
    made = vendor_node("SkipLayerNormalization", inputs, [epsilon], outputs=4)
    swap(graph, norm, made)
    give_sum(graph, made, made.outputs[3], total)
    for output in made.outputs[1:]:
        if not output.uses():
            output.name = ""


def give_sum(graph: ir.Graph, made: ir.Node, result: ir.Value, total: ir.Value) -> None:
    """Let whoever else reads `total`, no graph output, read what a node computes of it beside its own."""
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
