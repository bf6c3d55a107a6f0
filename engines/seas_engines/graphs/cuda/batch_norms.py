"""Batch norms of a trained network are a factor and a sum per channel: into the convolution before them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from seas_engines.graphs.surgery import (
    AnyArray,
    array_of,
    computed,
    constant,
    is_weight,
    make_node,
    replace,
    sizes,
    take_over,
)

Numbers = npt.NDArray[np.float64]


def fold_batch_norms(graph: ir.Graph) -> None:
    """Remove BatchNormalization nodes, in place: their numbers go into the weights of a convolution that
    feeds nothing else, or into a product and a sum."""
    for node in list(graph):
        if node.op_type == "BatchNormalization" and len(node.outputs) == 1:
            _fold(graph, node)


def _fold(graph: ir.Graph, norm: ir.Node) -> None:
    source, *rest = norm.inputs
    weights = [value for value in rest if is_weight(value)]
    if source is None or source.dtype is None or len(weights) != 4:
        return
    scale, bias, mean, variance = (array_of(value).astype(np.float64) for value in weights)
    factor: Numbers = scale / np.sqrt(variance + norm.attributes["epsilon"].as_float())
    shift: Numbers = bias - mean * factor
    convolution = source.producer()
    if convolution is not None and _takes(convolution):
        _into_weights(graph, convolution, factor, shift)
        take_over(norm.outputs[0], source, named=False)
        graph.remove(norm, safe=True)
        return
    columns = (len(factor), *[1] * (len(source.shape or ()) - 2))
    nodes, value = [], source
    for op_type, what, numbers in (("Mul", "factor", factor), ("Add", "shift", shift)):
        array = numbers.reshape(columns).astype(source.dtype.numpy())
        inputs = [value, constant(graph, f"{norm.name}_{what}", array)]
        name = f"{norm.name}_{op_type.lower()}"
        nodes.append(make_node(op_type, inputs, name=name, results=[f"{name}_out"], like=norm.outputs[0]))
        value = nodes[-1].outputs[0]
    replace(graph, norm, *nodes, named=False)


def _takes(node: ir.Node) -> bool:
    """Whether a node is a convolution of constant weights whose result nothing but the norm reads."""
    return (
        node.op_type == "Conv"
        and len(node.outputs[0].uses()) == 1
        and not node.outputs[0].is_graph_output()
        and all(map(is_weight, node.inputs[1:]))
    )


def _into_weights(graph: ir.Graph, convolution: ir.Node, factor: Numbers, shift: Numbers) -> None:
    weight, *rest = (value for value in convolution.inputs[1:] if value is not None)
    columns = (len(factor), *[1] * (len(sizes(weight)) - 1))
    dtype = (weight.dtype or ir.DataType.FLOAT).numpy()
    name = str(convolution.name)

    def multiplied() -> AnyArray:
        return (array_of(weight).astype(np.float64) * factor.reshape(columns)).astype(dtype)

    before = array_of(rest[0]).astype(np.float64) if rest else np.zeros_like(shift)
    kernels = computed(graph, f"{name}_folded", ir.DataType.from_numpy(dtype), sizes(weight), multiplied)
    convolution.resize_inputs(3)
    convolution.replace_input_with(1, kernels)
    convolution.replace_input_with(
        2, constant(graph, f"{name}_folded_bias", (before * factor + shift).astype(dtype))
    )
