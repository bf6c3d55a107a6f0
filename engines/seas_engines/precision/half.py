"""Half precision written into a graph: half weights and tensors, with chosen nodes left in float32.

Nodes become half from the first matrix product or convolution to the last on any path. Those before and after
stay in float32: the solver's arithmetic on latents, the timestep's sines, the softmax of the mask and the
rounding to pixels. That costs nothing, and latents and tables are float32 by design.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import computed, give_out, make_node, sizes

HALF_MAX = 65504.0
"""The largest finite number of IEEE binary16."""
_HEAVY = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Attention", "MultiHeadAttention", "Einsum"})
_WORDS = {ir.DataType.FLOAT16: "half", ir.DataType.FLOAT: "float"}
_FLOAT32_INPUTS = {"Resize": (1, 2)}  # roi and scales are positions, not values
_MOVES = frozenset(
    {
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that only move values: they round nothing."""


def infer_types(model: ir.Model) -> None:
    """Give every value its dtype, in place; ValueError where that is not possible."""
    passes.ShapeInferencePass()(model)
    for node in model.graph:
        for value in node.outputs:
            if value.dtype is None:
                raise ValueError(f"the type of {value.name}, made by {node.op_type}, is not known")


def candidates(model: ir.Model, half_values: Collection[str] = ()) -> tuple[ir.Node, ...]:
    """Return the nodes that may run in half: see the module's docstring. The model's types must be known.

    Nodes that read a graph input of `half_values`, make such an output, or pick rows of a table of weights
    count as products.
    """
    nodes = list(model.graph)
    given = {value for value in model.graph.inputs if value.name in half_values}
    taken = {value for value in model.graph.outputs if value.name in half_values}
    for node in nodes:
        if any(attribute.type is ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            raise ValueError(f"{node.name}: {node.op_type} holds a graph of its own, which is not supported")
    after = _reach(
        nodes,
        lambda node: [value.producer() for value in node.inputs if value is not None],
        {node for node in nodes if not given.isdisjoint(node.inputs)},
    )
    before = _reach(
        reversed(nodes),
        lambda node: [use.node for value in node.outputs for use in value.uses()],
        {node for node in nodes if not taken.isdisjoint(node.outputs)},
    )
    return tuple(
        node
        for node in nodes
        if node in after
        and node in before
        and node.op_type != "Cast"
        and any(_is_float(value) for value in node.outputs)
    )


def _reach(
    nodes: Iterable[ir.Node],
    neighbours: Callable[[ir.Node], Iterable[ir.Node | None]],
    first: Collection[ir.Node],
) -> set[ir.Node]:
    """Return `first`, the heavy nodes and all that they reach; `nodes` come after their neighbours."""
    reached = set(first)
    for node in nodes:
        if node.op_type in _HEAVY or _looks_up(node) or any(other in reached for other in neighbours(node)):
            reached.add(node)
    return reached


def _looks_up(node: ir.Node) -> bool:
    """Whether a node picks rows of a weight, as of a text encoder's table of tokens."""
    table = node.inputs[0] if node.op_type == "Gather" else None
    return table is not None and table.is_initializer() and _is_float(table)


def to_half(model: ir.Model, keep: Collection[str] = (), half_values: Collection[str] = ()) -> None:
    """Turn a float32 model to half, in place.

    Args:
        model: its types are known (`infer_types`).
        keep: names of nodes that stay in float32.
        half_values: graph inputs and outputs that become half; the others keep their dtype.
    """
    graph = model.graph
    half = {node for node in candidates(model, half_values) if node.name not in keep}
    for value in graph.inputs:
        if value.name in half_values and _is_float(value):
            value.type = ir.TensorType(ir.DataType.FLOAT16)
    for node in half:
        for value in node.outputs:
            if _is_float(value):
                value.type = ir.TensorType(ir.DataType.FLOAT16)
    casts = _Casts(graph)
    for node in list(graph):
        kept = _FLOAT32_INPUTS.get(node.op_type, ())
        for place, source in enumerate(node.inputs):
            if source is None or not _any_float(source) or node.op_type in ("Cast", "Shape", "Size"):
                continue
            want = ir.DataType.FLOAT16 if node in half and place not in kept else ir.DataType.FLOAT
            if source.dtype is not want:
                node.replace_input_with(place, casts.to(source, want))
    for value in list(graph.outputs):
        if _any_float(value):
            casts.output(value, ir.DataType.FLOAT16 if value.name in half_values else ir.DataType.FLOAT)
    passes.RemoveUnusedNodesPass()(model)


def emulate_half(model: ir.Model, keep: Collection[str] = (), half_values: Collection[str] = ()) -> None:
    """Round a float32 model's values as `to_half` would, and compute in float32, in place.

    ONNX Runtime on a processor without half arithmetic would leave out the rounding between two half nodes,
    which is to be measured. Sums are in float32 here, as in matrix units.
    """
    graph = model.graph
    half = {node for node in candidates(model, half_values) if node.name not in keep}
    casts = _Casts(graph)
    inputs = [value for value in graph.inputs if value.name in half_values and _is_float(value)]
    rounded = {casts.round_in_place(value) for value in inputs}
    for value in list(graph.outputs):
        if value.name in half_values and value.producer() not in half and _is_float(value):
            casts.round_output(value)
    made: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        if node not in half:
            continue
        kept = _FLOAT32_INPUTS.get(node.op_type, ())
        for place, source in enumerate(node.inputs):
            if source is None or not _is_float(source) or place in kept or source.producer() in half:
                continue
            if source in rounded:
                continue
            if source not in made:
                made[source] = casts.round(source)
                rounded.add(made[source])
            node.replace_input_with(place, made[source])
    for node in half:
        if node.op_type not in _MOVES:
            for value in node.outputs:
                if _is_float(value):
                    casts.round_in_place(value)


class _Casts:
    """Values of one graph in the other precision, each cast once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def to(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Return the value as `dtype`: an initializer converted, anything else through a Cast."""
        key = (value, dtype)
        if key not in self._made:
            tensor = value.const_value
            self._made[key] = (
                self._initializer(value, tensor, dtype)
                if tensor is not None and value.is_initializer()
                else self._cast(value, dtype)
            )
        return self._made[key]

    def output(self, value: ir.Value, dtype: ir.DataType) -> None:
        """Give a graph output its dtype under its own name."""
        if value.dtype is dtype:
            return
        give_out(self._graph, value, self._cast(value, dtype, f"{value.name}_uncast"), "uncast")

    def round(self, value: ir.Value) -> ir.Value:
        """Return the value rounded to half, as float32."""
        return self._cast(self._cast(value, ir.DataType.FLOAT16), ir.DataType.FLOAT)

    def round_output(self, value: ir.Value) -> None:
        """Round a graph output, under its own name; nodes inside read the value as it was."""
        give_out(self._graph, value, self.round(value), "exact")

    def round_in_place(self, value: ir.Value) -> ir.Value:
        """Let every reader of the value read it rounded; return the rounded value."""
        uses = list(value.uses())
        made = self.round(value)
        for use in uses:
            use.node.replace_input_with(use.idx, made)
        give_out(self._graph, value, made, "exact")
        return made

    def _initializer(self, value: ir.Value, tensor: ir.TensorProtocol, dtype: ir.DataType) -> ir.Value:
        name = f"{value.name}_{_WORDS[dtype]}"
        return computed(self._graph, name, dtype, sizes(value), lambda: _convert(tensor, dtype))

    def _cast(self, value: ir.Value, dtype: ir.DataType, stem: str = "") -> ir.Value:
        name = f"{stem or value.name}_to_{_WORDS[dtype]}"
        node = make_node("Cast", [value], {"to": int(dtype)}, name=name, results=[f"{name}_out"], like=value)
        node.outputs[0].type = ir.TensorType(dtype)
        producer = value.producer()
        if producer is not None:
            self._graph.insert_after(producer, node)
        elif len(self._graph):
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.append(node)
        return node.outputs[0]


def _convert(tensor: ir.TensorProtocol, dtype: ir.DataType) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is found by measurement, not here
        return np.asarray(tensor.numpy()).astype(dtype.numpy())


def _is_float(value: ir.Value) -> bool:
    return value.dtype is ir.DataType.FLOAT


def _any_float(value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)
