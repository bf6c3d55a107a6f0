"""Several operators of a channels-last graph as one of ONNX Runtime's own: a kernel instead of two to four.

The operators are those that ONNX Runtime brings for Stable Diffusion, in the domain `com.microsoft`:
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.cuda.operators import skip_group_norm, skip_layer_norm, swap
from seas_engines.graphs.surgery import is_weight, only_user, producer, sizes, take_over

SPLIT_GELU_WIDTHS = frozenset({2560, 5120, 10240})
"""Last axis of what BiasSplitGelu takes: those of Stable Diffusion 1.x alone."""
BIAS_ADD_WIDTHS = frozenset({320, 640, 1280})
"""Last axis of what BiasAdd takes."""


def fuse(model: ir.Model) -> None:
    """Join what ONNX Runtime's CUDA provider has one kernel for, in place.

    Group norm with the SiLU after it and the sum before it; layer norm with residual and bias before it;
    the gated GELU with its bias; bias and residual; sums of three.
    """
    graph = model.graph
    for op_type, rule in (
        ("GroupNorm", _silu),
        ("GroupNorm", _skip_group_norm),
        ("LayerNormalization", _skip_layer_norm),
        ("Split", _split_gelu),
        ("Add", _bias_add),
        ("Add", _sum),
    ):
        for node in list(graph):
            if node.op_type == op_type and node.graph is graph:
                rule(graph, node)
    passes.RemoveUnusedNodesPass()(model)


def _silu(graph: ir.Graph, norm: ir.Node) -> None:
    """GroupNorm, times its own sigmoid."""
    value = norm.outputs[0]
    users = [use.node for use in value.uses()]
    if len(users) != 2 or value.is_graph_output():
        return
    sigmoid = next((user for user in users if user.op_type == "Sigmoid"), None)
    product = next((user for user in users if user.op_type == "Mul"), None)
    if sigmoid is None or product is None or set(product.inputs) != {value, sigmoid.outputs[0]}:
        return
    if len(sigmoid.outputs[0].uses()) != 1:
        return
    norm.attributes["activation"] = ir.AttrInt64("activation", 1)
    take_over(product.outputs[0], value, named=False)
    graph.remove([product, sigmoid], safe=True)


def _skip_group_norm(graph: ir.Graph, norm: ir.Node) -> None:
    """GroupNorm of a sum of two as large, or of one with a value per image and channel."""
    total = producer(norm.inputs[0], "Add")
    if total is None or total.outputs[0].is_graph_output():
        return
    first, second = total.inputs
    assert first is not None
    assert second is not None
    if _per_image(first) and not _per_image(second):
        first, second = second, first
    if len(first.shape or ()) != 4 or not (_per_image(second) or _same_shape(first, second)):
        return
    if first.is_initializer() or second.is_initializer() or _per_image(first):
        return
    skip_group_norm(graph, norm, first, second, total.outputs[0])
    graph.remove(total, safe=True)


def _skip_layer_norm(graph: ir.Graph, norm: ir.Node) -> None:
    """LayerNormalization of a residual plus what a linear layer and its bias gave."""
    total = producer(norm.inputs[0], "Add")
    if total is None or len(norm.inputs) != 3 or total.outputs[0].is_graph_output():
        return
    parts = [value for value in total.inputs if value is not None]
    if len(parts) != 2 or not _same_shape(*parts) or len(parts[0].shape or ()) != 3:
        return
    bias: list[ir.Value] = []
    for value, other in (parts, reversed(parts)):
        linear = _linear(value)
        if linear is not None:
            parts, bias = [linear.source, other], [linear.bias]
            break
    skip_layer_norm(graph, norm, parts, bias, total.outputs[0])
    graph.remove(total, safe=True)


def _split_gelu(graph: ir.Graph, split: ir.Node) -> None:
    """The first half times GELU of the second, of a linear layer's result and its bias."""
    linear = _linear(split.inputs[0])
    if linear is None or len(split.outputs) != 2 or linear.width not in SPLIT_GELU_WIDTHS:
        return
    left, right = split.outputs
    gelu = only_user(right, "Gelu")
    product = only_user(left, "Mul")
    if gelu is None or product is None or set(product.inputs) != {left, gelu.outputs[0]}:
        return
    if gelu.attributes.get_string("approximate", "none") != "none":
        return
    swap(graph, product, "BiasSplitGelu", [linear.source, linear.bias])
    graph.remove([gelu, split], safe=True)


def _bias_add(graph: ir.Graph, total: ir.Node) -> None:
    """A residual plus a linear layer's result and its bias, where no norm took it."""
    parts = [value for value in total.inputs if value is not None]
    if len(parts) != 2 or not _same_shape(*parts) or len(parts[0].shape or ()) != 3:
        return
    for value, other in (parts, reversed(parts)):
        linear = _linear(value)
        if linear is not None and linear.width in BIAS_ADD_WIDTHS:
            swap(graph, total, "BiasAdd", [linear.source, linear.bias, other])
            return


def _sum(graph: ir.Graph, total: ir.Node) -> None:
    """A sum of three as large, whose first two nothing else reads."""
    for value, other in (total.inputs, reversed(total.inputs)):
        inner = producer(value, "Add")
        if inner is None or value is None or other is None or only_user(value, "Add") is None:
            continue
        parts = [*inner.inputs, other]
        if all(part is not None and _same_shape(value, part) for part in parts):
            swap(graph, total, "Sum", parts, domain="")
            return


@dataclass(frozen=True, eq=False)
class _Linear:
    """What a linear layer gave before its bias, and the bias [width]."""

    source: ir.Value
    bias: ir.Value
    width: int


def _linear(value: ir.Value | None) -> _Linear | None:
    """Return what a value was before a bias was added that nothing else reads it with."""
    added = producer(value, "Add")
    if value is None or added is None or len(value.uses()) != 1 or value.is_graph_output():
        return None
    for bias, source in (added.inputs, reversed(added.inputs)):
        if source is not None and is_weight(bias) and len(sizes(bias)) == 1:
            return _Linear(source, bias, sizes(bias)[0])
    return None


def _per_image(value: ir.Value) -> bool:
    """Whether a value is [B,1,1,C]."""
    return value.shape is not None and len(value.shape) == 4 and list(value.shape[1:3]) == [1, 1]


def _same_shape(first: ir.Value, second: ir.Value) -> bool:
    """Whether two activations are as large but for the batch, which is the same in every sum."""
    if first.shape is None or second.shape is None or first.is_initializer() or second.is_initializer():
        return False
    one, other = list(first.shape[1:]), list(second.shape[1:])
    return one == other and all(isinstance(size, int) for size in one)
