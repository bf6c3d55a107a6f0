"""Weights that a rewrite adds to a graph. Large ones are computed when they are written, and not held."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

AnyArray = npt.NDArray[np.generic]


def constant(graph: ir.Graph, name: str, array: AnyArray) -> ir.Value:
    """Register an array, under a name made unique; returns its value."""
    fresh, count = name, 0
    while fresh in graph.initializers:
        count += 1
        fresh = f"{name}_{count}"
    return _register(graph, fresh, ir.tensor(np.ascontiguousarray(array)))


def computed(
    graph: ir.Graph,
    name: str,
    dtype: ir.DataType,
    shape: Sequence[int],
    compute: Callable[[], AnyArray],
) -> ir.Value:
    """Register an array that is computed when it is written; the one of that name if there is one."""
    if name in graph.initializers:
        return graph.initializers[name]
    tensor = ir.LazyTensor(
        lambda: ir.Tensor(np.ascontiguousarray(compute()), name=name),
        dtype=dtype,
        shape=ir.Shape(shape),
        name=name,
    )
    return _register(graph, name, tensor)


def sizes(value: ir.Value) -> list[int]:
    """Return the sizes of a weight."""
    assert value.const_value is not None
    return [int(size) for size in value.const_value.shape.numpy()]


def array_of(value: ir.Value) -> AnyArray:
    """Return the numbers of a weight."""
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


def is_weight(value: ir.Value | None) -> bool:
    """Whether a value's numbers are in the graph."""
    return value is not None and value.const_value is not None


def _register(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    made = ir.Value(
        name=name, shape=ir.Shape(tensor.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(made)
    return made
