"""What a rewrite asks of a graph: which node made a value, and whether one alone reads it."""

from __future__ import annotations

import onnx_ir as ir


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that makes a value, where it is of this operator."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def only_user(value: ir.Value, op_type: str) -> ir.Node | None:
    """Return the node that reads a value, where it is the only one and of this operator."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != op_type:
        return None
    return uses[0].node
