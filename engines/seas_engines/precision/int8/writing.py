"""Int8 written into a graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import computed, constant, make_node, sizes
from seas_engines.precision.int8.layers import Layer, find_layers, rounded, weight_scales


def to_int8(model: ir.Model, scales: Mapping[str, float], float_inputs: Collection[str] = ()) -> int:
    """Write a float32 graph's layers in int8, in place; returns how many have int8 inputs.

    Every layer's weight becomes int8, computed when it is written to a file. `scales` has by `Layer.key` the
    step of its input; layers that are not there, or whose key is in `float_inputs`, keep their input.
    """
    graph = model.graph
    layers = list(find_layers(model))
    keys = [layer.key for layer in layers]  # before any weight is another
    weights: dict[ir.Value, ir.Value] = {}
    inputs: dict[tuple[ir.Value, float], ir.Value] = {}
    for layer, key in zip(layers, keys, strict=True):
        if layer.weight not in weights:
            weights[layer.weight] = _weight(graph, layer)
        layer.node.replace_input_with(1, weights[layer.weight])
        if key in float_inputs or key not in scales:
            continue
        place = layer.source, scales[key]
        if place not in inputs:
            inputs[place] = _input(graph, *place)
        layer.node.replace_input_with(0, inputs[place])
    passes.RemoveUnusedNodesPass()(model)
    return sum(key in scales and key not in float_inputs for key in keys)


def _weight(graph: ir.Graph, layer: Layer) -> ir.Value:
    """Return a layer's weight through int8: what is stored is that, and its scales."""
    steps, name, old = weight_scales(layer), str(layer.weight.name), layer.weight
    held = Layer(layer.node, ir.Value(name=name, const_value=old.const_value), layer.axis)
    stored = computed(graph, f"{name}_int8", ir.DataType.INT8, sizes(old), lambda: rounded(held, steps))
    node = make_node(
        "DequantizeLinear",
        [stored, constant(graph, f"{name}_scale", steps)],
        {"axis": layer.axis},
        name=f"{name}_dequantize",
        results=[f"{name}_rounded"],
    )
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), old.shape
    graph.insert_before(layer.node, node)
    return node.outputs[0]


def _input(graph: ir.Graph, value: ir.Value, step: float) -> ir.Value:
    """Return a value rounded to int8 and back."""
    name = str(value.name)
    scale = constant(graph, f"{name}_step", np.array(step, np.float32))
    zero = graph.initializers.get(_ZERO) or constant(graph, _ZERO, np.array(0, np.int8))
    first = make_node(
        "QuantizeLinear", [value, scale, zero], name=f"{scale.name}_quantize", results=[f"{scale.name}_int8"]
    )
    last = make_node(
        "DequantizeLinear",
        [first.outputs[0], scale, zero],
        name=f"{scale.name}_dequantize",
        results=[f"{scale.name}_rounded"],
    )
    first.outputs[0].type, last.outputs[0].type = ir.TensorType(ir.DataType.INT8), value.type
    first.outputs[0].shape = last.outputs[0].shape = value.shape
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, [first, last])
    else:
        graph.insert_before(graph[0], [first, last])
    return last.outputs[0]


_ZERO = "int8_zero"
