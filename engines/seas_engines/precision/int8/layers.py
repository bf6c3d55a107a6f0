"""The layers of a graph that can be int8: their weights, and what goes into them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from seas_engines.graphs.surgery import array_of, is_weight, sizes, tensor_of

Floats = npt.NDArray[np.float32]
LEVELS = 127
"""The largest int8 that is used: -128 is not, so that the range is symmetric."""
LEAST_WEIGHTS = 1024
"""Numbers in a weight: smaller layers cost more as int8 than they save, and keep their precision."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A node with a weight."""

    node: ir.Node
    weight: ir.Value
    axis: int
    """Of the weight: its output channels, which have a scale each."""

    @property
    def source(self) -> ir.Value:
        """What goes into it besides."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def key(self) -> str:
        """Tells layers of a bundle's graphs apart by where their weight is kept: graphs share weights."""
        tensor = tensor_of(self.weight)
        if isinstance(tensor, ir.ExternalTensor):
            return f"{tensor.location}:{tensor.offset}"
        return str(self.weight.name)


def find_layers(model: ir.Model) -> Iterator[Layer]:
    """Yield the layers of a float32 graph, in its order."""
    for node in model.graph:
        axis = _output_axis(node)
        if axis is None:
            continue
        weight, source = node.inputs[1], node.inputs[0]
        if is_weight(weight) and not is_weight(source) and tensor_of(weight).size >= LEAST_WEIGHTS:
            yield Layer(node, weight, axis)


def weight_scales(layer: Layer) -> Floats:
    """Return the scale of each output channel, [O]: its largest magnitude is the largest int8."""
    array = _numbers(layer)
    others = tuple(axis for axis in range(array.ndim) if axis != layer.axis)
    largest: Floats = np.abs(array).max(axis=others)
    largest[largest == 0] = LEVELS
    largest /= LEVELS
    return largest


def rounded(layer: Layer, scales: Floats) -> npt.NDArray[np.int8]:
    """Return the weight as int8, in its shape."""
    array = _numbers(layer)
    shape = [1] * array.ndim
    shape[layer.axis] = -1
    steps: Floats = np.rint(array / scales.reshape(shape))
    return steps.clip(-LEVELS, LEVELS).astype(np.int8)


def _numbers(layer: Layer) -> Floats:
    return array_of(layer.weight).astype(np.float32, copy=False)


def _output_axis(node: ir.Node) -> int | None:
    if node.domain or len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    if node.op_type == "Conv":
        return 0
    if not is_weight(node.inputs[1]) or len(sizes(node.inputs[1])) != 2:
        return None
    if node.op_type == "MatMul":
        return 1
    if node.op_type == "Gemm" and not node.attributes.get_int("transA", 0):
        return 0 if node.attributes.get_int("transB", 0) else 1
    return None
