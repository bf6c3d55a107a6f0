"""Half precision written into a graph: half weights and tensors, with chosen nodes left in float32.

Half is used from the first matrix product or convolution to the last on any path. What comes before and
after them stays in float32: the solver's arithmetic on latents, the timestep's sines, the softmax of the
mask and the rounding to pixels. It costs nothing there, and latents and tables are float32 by design.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

HALF_MAX = 65504.0
"""The largest finite number of IEEE binary16."""
_HEAVY = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Attention", "MultiHeadAttention", "Einsum"})
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
    """Return the nodes that may run in half: see the module's text. The model's types must be known.

    What reads a graph input of `half_values`, or makes such an output, counts as a product does, and so does
    what picks rows of a table of weights.
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
    """Return `first`, the heavy nodes and what one of them reaches; `nodes` come after their neighbours."""
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

    A processor without half arithmetic would widen between two half nodes without rounding, and so hide what
    is to be measured. Sums are kept in float32 here, as matrix units keep them.
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
        name = str(value.name)
        value.name = f"{name}_uncast"
        made = self._cast(value, dtype)
        made.name = name
        index = list(self._graph.outputs).index(value)
        self._graph.outputs[index] = made

    def round(self, value: ir.Value) -> ir.Value:
        """Return the value rounded to half, as float32."""
        return self._cast(self._cast(value, ir.DataType.FLOAT16), ir.DataType.FLOAT)

    def round_output(self, value: ir.Value) -> None:
        """Round what a graph gives out, under its own name, and not what is read of it inside."""
        self._give_out(value, self.round(value))

    def round_in_place(self, value: ir.Value) -> ir.Value:
        """Let everything that reads the value read it rounded; return that."""
        uses = list(value.uses())
        made = self.round(value)
        for use in uses:
            use.node.replace_input_with(use.idx, made)
        self._give_out(value, made)
        return made

    def _give_out(self, value: ir.Value, made: ir.Value) -> None:
        """Let the graph give `made` where it gives `value`, if it does, under that one's name."""
        for index in [index for index, output in enumerate(self._graph.outputs) if output is value]:
            name = str(value.name)
            value.name, made.name = f"{name}_exact", name
            self._graph.outputs[index] = made

    def _initializer(self, value: ir.Value, tensor: ir.TensorProtocol, dtype: ir.DataType) -> ir.Value:
        name = f"{value.name}_{'half' if dtype is ir.DataType.FLOAT16 else 'float'}"
        converted = ir.LazyTensor(
            lambda: ir.Tensor(_convert(tensor, dtype), name=name), dtype=dtype, shape=tensor.shape, name=name
        )
        made = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype), const_value=converted)
        self._graph.register_initializer(made)
        return made

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))])
        node.name = f"{value.name}_to_{'half' if dtype is ir.DataType.FLOAT16 else 'float'}"
        made = node.outputs[0]
        made.name, made.shape, made.type = f"{node.name}_out", value.shape, ir.TensorType(dtype)
        producer = value.producer()
        if producer is None:
            first = next(iter(self._graph), None)
            if first is None:
                self._graph.append(node)
            else:
                self._graph.insert_before(first, node)
        else:
            self._graph.insert_after(producer, node)
        return made


def _convert(tensor: ir.TensorProtocol, dtype: ir.DataType) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is found by measurement, not here
        return np.asarray(tensor.numpy()).astype(dtype.numpy())


def _is_float(value: ir.Value) -> bool:
    return value.dtype is ir.DataType.FLOAT


def _any_float(value: ir.Value) -> bool:
    return value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)
