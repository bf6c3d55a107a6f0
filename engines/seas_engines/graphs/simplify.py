"""Cleans a traced graph: constants folded, what the tracer writes in a roundabout way said plainly."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import (
    constant,
    is_weight,
    make_node,
    number,
    producer,
    untransposed,
)

_FOLD_INPUT_BYTES = 8192
_FOLD_OUTPUT_BYTES = 1 << 30  # a folded transpose of a weight replaces it, so its size is no reason against


def simplify(model: ir.Model) -> None:
    """Fold constants, drop what nothing reads, and share what is the same; in place.

    PyTorch's own optimiser also tries some hundred rewrite rules on every node: most of the export's time,
    for what ONNX Runtime does when it loads a graph.
    """
    from onnxscript import optimizer

    passes.InlinePass()(model)
    for _ in range(2):  # the second pass folds the shapes that the first has made known
        optimizer.fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=_FOLD_INPUT_BYTES,
            output_size_limit=_FOLD_OUTPUT_BYTES,
        )
    for node in list(model.graph):
        _remove_division_by_one(model.graph, node)
    for node in model.graph:
        _fix_reshape(model.graph, node)
    for node in list(model.graph):
        _transpose_key(model.graph, node)
    for clean in (
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedFunctionsPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.ClearMetadataAndDocStringPass(),  # they hold stack traces with the exporting machine's paths
    ):
        clean(model)


def _remove_division_by_one(graph: ir.Graph, node: ir.Node) -> None:
    """diffusers divides every residual by its `output_scale_factor`, which is one in Stable Diffusion."""
    if node.op_type != "Div" or number(node.inputs[1]) != 1.0:
        return
    result, source = node.outputs[0], node.inputs[0]
    if source is not None and source.dtype == result.dtype and not result.is_graph_output():
        ir.convenience.replace_all_uses_with(result, source)
        graph.remove(node, safe=True)


def _fix_reshape(graph: ir.Graph, node: ir.Node) -> None:
    """Give a reshape a constant target where only the batch is dynamic; the tracer computes it every run."""
    if node.op_type != "Reshape" or node.inputs[1] is None or is_weight(node.inputs[1]):
        return
    shape = node.outputs[0].shape or _shape_of(node.inputs[1])
    sizes = [size if isinstance(size, int) else -1 for size in shape or ()]
    if sizes.count(-1) == 1 and 0 not in sizes:
        target = constant(graph, f"{node.outputs[0].name}_shape", np.array(sizes, np.int64))
        node.replace_input_with(1, target)


def _shape_of(target: ir.Value) -> ir.Shape | None:
    """Return the shape of the value that `target` is the shape of, as group norms restore theirs."""
    node = producer(target, "Shape")
    source = node.inputs[0] if node is not None and len(node.attributes) <= 1 else None
    if node is None or source is None or any(item.as_int() != 0 for item in node.attributes.values()):
        return None
    return source.shape


def _transpose_key(graph: ir.Graph, outer: ir.Node) -> None:
    """Swap a key's last two axes by one transpose, not by the tracer's reshape, transpose and reshape.

    The reshapes merge and split batch and heads: the target is the source's own shape, last two swapped.
    """
    if outer.op_type != "Reshape":
        return
    inner = producer(untransposed(outer.inputs[0], [0, 2, 1]), "Reshape")
    source = inner.inputs[0] if inner is not None else None
    if source is None or source.shape is None or len(source.shape) != 4 or not _swaps(outer, source):
        return
    order = [0, 1, 3, 2]
    swap = make_node("Transpose", [source], {"perm": order}, like=source)
    swap.outputs[0].shape = ir.Shape([source.shape[axis] for axis in order])
    graph.insert_after(outer, swap)
    ir.convenience.replace_all_uses_with(outer.outputs[0], swap.outputs[0])
    graph.remove(outer, safe=True)


def _swaps(reshape: ir.Node, source: ir.Value) -> bool:
    """Whether a reshape's target is built from `Shape(source)`: (leading sizes, last, last but one)."""
    target = producer(reshape.inputs[1], "Concat")
    shapes = [producer(piece, "Slice", "Shape") for piece in target.inputs] if target is not None else []
    return len(shapes) == 3 and all(shape is not None and shape.inputs[0] is source for shape in shapes)
