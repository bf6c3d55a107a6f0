"""From a part to an ONNX graph: traced by torch.onnx, then cleaned."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes import common as passes
from torch import Tensor, nn

from seas_runtime.errors import CheckFailed

BATCH = "batch"
_FOLD_INPUT_BYTES = 8192
_FOLD_OUTPUT_BYTES = 1 << 30  # a folded transpose of a weight replaces it, so its size is no reason against


@dataclass(frozen=True, eq=False)
class Part:
    """A module to trace.

    Attributes:
        name: of its graph.
        module: takes `inputs` in their order, returns `outputs` in theirs.
        inputs: an example of each; the first dimension is the batch where its name is in `batched`.
        outputs: names.
        batched: inputs whose first dimension is dynamic.
    """

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    batched: tuple[str, ...]


def trace(part: Part, opset: int) -> ir.Model:
    """Return the part's graph with a dynamic batch; its weights still lie in the module's own memory."""
    dynamic = {0: torch.export.Dim.DYNAMIC}
    shapes = tuple(dynamic if name in part.batched else None for name in part.inputs)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            part.module, tuple(part.inputs.values()), dynamic_shapes=shapes, strict=False
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(part.inputs),
            output_names=list(part.outputs),
            optimize=False,
            verbose=False,
        )
    assert exported is not None  # it returns nothing only when told to write a file
    model: ir.Model = exported.model
    simplify(model)
    for value in (*model.graph.inputs, *model.graph.outputs):
        _name_batch(value)
    model.graph.name = part.name
    return model


def trace_or_fail(part: Part, opset: int) -> ir.Model:
    """Return a part's graph, or raise CheckFailed that says what PyTorch stumbled over."""
    try:
        return trace(part, opset)
    except Exception as error:  # torch.export and torch.onnx raise their own and anything else
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise CheckFailed(
            f"{part.name}: PyTorch {torch.__version__} cannot trace it: {reason}; nothing was written. "
            "Report this with the versions that `seas-export doctor` prints"
        ) from error


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
    _remove_divisions_by_one(model.graph)
    _fix_reshapes(model.graph)
    _transpose_keys(model.graph)
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


def _remove_divisions_by_one(graph: ir.Graph) -> None:
    """diffusers divides every residual by its `output_scale_factor`, which is one in Stable Diffusion."""
    for node in list(graph):
        if node.op_type != "Div":
            continue
        divisor = ir.convenience.get_const_tensor(node.inputs[1]) if node.inputs[1] is not None else None
        if divisor is None or divisor.size != 1 or float(divisor.numpy().item()) != 1.0:
            continue
        result, source = node.outputs[0], node.inputs[0]
        if result.is_graph_output() or source is None or source.dtype != result.dtype:
            continue
        ir.convenience.replace_all_uses_with(result, source)
        graph.remove(node, safe=True)


def _fix_reshapes(graph: ir.Graph) -> None:
    """Give a reshape a constant target where only the batch is dynamic; the tracer computes it every run."""
    for node in graph:
        if node.op_type != "Reshape" or node.inputs[1] is None:
            continue
        shape = node.outputs[0].shape or _shape_of(node.inputs[1])
        if shape is None or ir.convenience.get_const_tensor(node.inputs[1]) is not None:
            continue
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) == 1 and 0 not in sizes:
            target = ir.Value(
                name=f"{node.outputs[0].name}_shape",
                shape=ir.Shape([len(sizes)]),
                type=ir.TensorType(ir.DataType.INT64),
                const_value=ir.tensor(np.array(sizes, np.int64)),
            )
            graph.register_initializer(target)
            node.replace_input_with(1, target)


def _shape_of(target: ir.Value) -> ir.Shape | None:
    """Return the shape of the value that `target` is the shape of, as group norms restore theirs."""
    node = target.producer()
    source = (
        node.inputs[0] if node is not None and node.op_type == "Shape" and len(node.attributes) <= 1 else None
    )
    if source is None or any(attribute.as_int() != 0 for attribute in node.attributes.values()):
        return None
    return source.shape


def _transpose_keys(graph: ir.Graph) -> None:
    """Swap a key's last two axes by one transpose, not by the tracer's reshape, transpose and reshape."""
    for outer in list(graph):
        if outer.op_type != "Reshape":
            continue
        turned = outer.inputs[0].producer() if outer.inputs[0] is not None else None
        if turned is None or turned.op_type != "Transpose":
            continue
        inner = turned.inputs[0].producer() if turned.inputs[0] is not None else None
        if (
            inner is None
            or inner.op_type != "Reshape"
            or list(turned.attributes["perm"].as_ints()) != [0, 2, 1]
        ):
            continue
        source, result = inner.inputs[0], outer.outputs[0]
        # The reshapes merge and split batch and heads: the target is the source's own shape, last two
        # swapped.
        if source is None or source.shape is None or len(source.shape) != 4 or not _swaps(outer, source):
            continue
        swap = ir.Node("", "Transpose", [source], [ir.AttrInt64s("perm", [0, 1, 3, 2])])
        made = swap.outputs[0]
        made.type = source.type
        made.shape = ir.Shape([source.shape[axis] for axis in (0, 1, 3, 2)])
        graph.insert_after(outer, swap)
        ir.convenience.replace_all_uses_with(result, made)
        graph.remove(outer, safe=True)


def _swaps(reshape: ir.Node, source: ir.Value) -> bool:
    """Whether a reshape's target is built from `Shape(source)`: (leading sizes, last, last but one)."""
    target = reshape.inputs[1].producer() if reshape.inputs[1] is not None else None
    if target is None or target.op_type != "Concat" or len(target.inputs) != 3:
        return False
    for piece in target.inputs:
        cut = piece.producer() if piece is not None else None
        shape = cut.inputs[0].producer() if cut is not None and cut.inputs[0] is not None else None
        if cut is None or cut.op_type != "Slice" or shape is None or shape.op_type != "Shape":
            return False
        if shape.inputs[0] is not source:
            return False
    return True


def _name_batch(value: ir.Value) -> None:
    """Call the dynamic dimension `batch`, whatever the tracer named it."""
    if value.shape is None:
        return
    for axis, size in enumerate(value.shape):
        if not isinstance(size, int):
            value.shape[axis] = BATCH


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's remarks from the user; its errors are exceptions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
