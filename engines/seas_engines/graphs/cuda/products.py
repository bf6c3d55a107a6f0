"""Many small matrix products of one input become a large one: a launch costs more than their arithmetic.

In a step of Stable Diffusion 1.x that is the text, from which every cross-attention takes its keys and
values (32 products), and the timestep's embedding, which every residual block projects (22).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import (
    array_of,
    computed,
    constant,
    is_weight,
    make_node,
    sizes,
    take_over,
)

FEWEST = 4
MOST_ROWS = 256
"""Rows of the input per image up to which merging pays; the results have to be parted again."""


def merge_products(model: ir.Model) -> None:
    """Merge MatMul and Gemm nodes that multiply one small input by constant weights, in place.

    The shapes of their inputs must be known but for the batch.
    """
    graph = model.graph
    groups: dict[tuple[ir.Value, str, bool], list[ir.Node]] = defaultdict(list)
    for node in graph:
        source = node.inputs[0] if node.inputs else None
        if source is not None and _is_small(source) and _is_plain_product(node):
            groups[source, node.op_type, len(node.inputs) > 2].append(node)
    for (source, _, _), nodes in groups.items():
        if len(nodes) >= FEWEST:
            _merge(graph, source, nodes)
    passes.RemoveUnusedNodesPass()(model)


def _merge(graph: ir.Graph, source: ir.Value, nodes: Sequence[ir.Node]) -> None:
    first = nodes[0]
    turned = _transposes(first)
    weights = [value for node in nodes if (value := node.inputs[1]) is not None]
    widths = [sizes(value)[0 if turned else 1] for value in weights]
    inputs = [source, _joined(graph, f"{first.name}_weights", weights, axis=0 if turned else 1)]
    if len(first.inputs) > 2:
        biases = [value for node in nodes if (value := node.inputs[2]) is not None]
        inputs.append(_joined(graph, f"{first.name}_biases", biases, axis=0))
    name = f"{first.name}_merged"
    product = make_node(first.op_type, inputs, first.attributes, name=name, results=[f"{name}_out"])
    product.outputs[0].type = first.outputs[0].type
    lengths = constant(graph, f"{name}_sizes", np.array(widths, np.int64))
    split = make_node(
        "Split",
        [product.outputs[0], lengths],
        {"axis": len(source.shape or ()) - 1},
        name=f"{name}_split",
        results=[f"{node.outputs[0].name}_part" for node in nodes],
    )
    graph.insert_before(first, [product, split])
    for node, new in zip(nodes, split.outputs, strict=True):
        take_over(node.outputs[0], new, named=False)
        graph.remove(node, safe=True)


def _joined(graph: ir.Graph, name: str, values: Sequence[ir.Value], axis: int) -> ir.Value:
    """Register weights one after another."""
    shape = sizes(values[0])
    shape[axis] = sum(sizes(value)[axis] for value in values)
    return computed(
        graph, name, values[0].dtype, shape, lambda: np.concatenate([*map(array_of, values)], axis=axis)
    )


def _is_plain_product(node: ir.Node) -> bool:
    """Whether a node multiplies by a constant matrix, and Gemm does no more than a bias beside it."""
    if node.domain != "" or node.op_type not in ("MatMul", "Gemm") or node.outputs[0].is_graph_output():
        return False
    if not all(map(is_weight, node.inputs[1:])):
        return False
    ranks = [len(sizes(value)) for value in node.inputs[1:] if value is not None]
    if node.op_type == "MatMul":
        return ranks == [2]
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    kept = {name: node.attributes[name].value for name in plain if name in node.attributes}
    return ranks in ([2], [2, 1]) and all(kept[name] == plain[name] for name in kept) and _transposes(node)


def _transposes(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("transB") == 1)


def _is_small(value: ir.Value) -> bool:
    """[B,C], or [B,N,C] of few rows."""
    if value.shape is None or len(value.shape) not in (2, 3):
        return False
    if len(value.shape) == 2:
        return True
    rows = value.shape[1]
    return isinstance(rows, int) and rows <= MOST_ROWS
