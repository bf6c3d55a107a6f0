"""Writes a graph in the operators that a target reads: attention and group norm whole, or in pieces.

A bundle's graphs hold attention as ONNX Runtime's own MultiHeadAttention or as two matrix products around a
softmax, and group norm as an instance norm between reshapes. Compilers do best with both whole, where they
know the operator; where they do not, with pieces that carry no operator of another vendor.
"""

from __future__ import annotations

from enum import Enum

import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.attention import fuse_attention, write_attention
from seas_engines.graphs.norms import join_group_norms
from seas_engines.graphs.surgery import make_node, producer, replace

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
        write_attention(model, whole=attention is Form.WHOLE)
    if group_norm is Form.WHOLE:
        join_group_norms(model.graph, ranks=(4,))
    elif group_norm is Form.VENDOR:
        join_group_norms(model.graph, ranks=(3, 4), even=True)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)


def cast_last(model: ir.Model) -> None:
    """Swap `Transpose(Cast(x))` at a graph's output for `Cast(Transpose(x))`, in place.

    TensorRT has bytes at its outputs only, not between operators.
    """
    for output in list(model.graph.outputs):
        turn, cast = producer(output, "Transpose"), producer(output, "Transpose", "Cast")
        if turn is None or cast is None or len(cast.outputs[0].uses()) != 1:
            continue
        (source,), wide = cast.inputs, f"{output.name}_wide"
        assert source is not None
        turned = make_node(
            "Transpose", [source], turn.attributes, name=str(turn.name), results=[wide], like=output
        )
        turned.outputs[0].type = source.type
        last = make_node("Cast", turned.outputs, cast.attributes, name=str(cast.name))
        replace(model.graph, turn, turned, last, also=[cast])
