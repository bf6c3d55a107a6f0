"""Finds the convolutions of an OpenVINO graph that Winograd's form can replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seas_runtime.backends.openvino.winograd import DOUBLED, SAME, Form
from seas_runtime.manifest.schedule import Array


@dataclass(frozen=True)
class Convolution:
    """A convolution that can be written in Winograd's form."""

    form: Form
    source: Any
    """The port [B,I,H,W] that it reads."""
    taps: Array
    """Its weights [O,I,T,T], T taps along each axis."""
    bias: Array | None
    """What is added to it [O], where that is constant."""
    result: Any
    """The port of the result, with `bias` added."""
    inner: Any
    """The port of the result without `bias`; its shape may be read."""


def find_convolution(node: Any) -> Convolution | None:
    """Return the convolution that `node` ends, but for a bias, if one of the forms is for it."""
    kind = node.get_type_name()
    if kind == "Convolution":
        return _same_size(node)
    return _upsampling(node) if kind == "DepthToSpace" else None


def _same_size(node: Any) -> Convolution | None:
    """Return a 3x3 convolution of stride one that keeps the image's size."""
    weights = _weights(node, (3, 3))
    if weights is None or _pads(node) != ((1, 1), (1, 1)):
        return None
    inner = node.output(0)
    users = [port.get_node() for port in inner.get_target_inputs()]
    added = [user for user in users if user.get_type_name() != "ShapeOf"]
    bias = _bias(added[0], inner) if len(added) == 1 else None
    result = inner if bias is None else added[0].output(0)
    return Convolution(SAME, node.input_value(0), _numbers(weights), bias, result, inner)


def _upsampling(node: Any) -> Convolution | None:
    """Return an upsampling by two and its 3x3 convolution, written as four convolutions and interleaved."""
    attributes = node.get_attributes()
    joined = node.input_value(0).get_node()
    if attributes["block_size"] != 2 or attributes["mode"] != "blocks_first":
        return None
    if joined.get_type_name() != "Concat" or joined.get_input_size() != 4:
        return None
    if joined.get_attributes()["axis"] not in {1, -3}:
        return None
    phases, biases = [], []
    for index in range(4):
        phase, bias = _without_bias(joined.input_value(index))
        row, column = divmod(index, 2)
        if phase is None or _pads(phase) != ((1 - row, 1 - column), (row, column)):
            return None
        phases.append(phase)
        biases.append(bias)
    source = phases[0].input_value(0)
    weights = [_weights(phase, (2, 2)) for phase in phases]
    sources = {_place(phase.input_value(0)) for phase in phases}
    if any(weight is None for weight in weights) or len(sources) != 1:
        return None
    if any(weight.shape != weights[0].shape for weight in weights):
        return None
    known = [bias for bias in biases if bias is not None]
    if len(known) not in {0, 4} or any(not np.array_equal(bias, known[0]) for bias in known):
        return None
    output, inputs = weights[0].shape[:2]
    taps = np.stack([_numbers(weight) for weight in weights]).reshape(2, 2, output, inputs, 2, 2)
    taps = taps.transpose(2, 3, 0, 4, 1, 5).reshape(output, inputs, 4, 4)
    if not _of_one_kernel(taps, weights[0].get_element_type().to_dtype()):
        return None
    result = node.output(0)
    return Convolution(DOUBLED, source, taps, known[0] if known else None, result, result)


def _of_one_kernel(taps: Array, dtype: Any) -> bool:
    """Tell whether the phases [O,I,4,4] of each axis have the same sums, up to `dtype`'s rounding."""
    rows = taps[:, :, :2].sum(axis=2) - taps[:, :, 2:].sum(axis=2)
    columns = taps[..., :2].sum(axis=3) - taps[..., 2:].sum(axis=3)
    bound = 8 * float(np.finfo(dtype).eps) * float(np.abs(taps).max())
    return bool(max(np.abs(rows).max(), np.abs(columns).max()) <= bound)


def _without_bias(port: Any) -> tuple[Any, Array | None]:
    """Return the convolution whose result, with a bias or without, is at a port, and the bias; or None."""
    node = port.get_node()
    if node.get_type_name() == "Add":
        for inner in (node.input_value(0), node.input_value(1)):
            bias = _bias(node, inner) if inner.get_node().get_type_name() == "Convolution" else None
            if bias is not None:
                return inner.get_node(), bias
    return (node if node.get_type_name() == "Convolution" else None), None


def _weights(node: Any, size: tuple[int, int]) -> Any:
    """Return the constant of a convolution's weights, of `size` taps, where strides and dilations are one."""
    attributes = node.get_attributes()
    weights = node.input_value(1).get_node()
    dense = list(attributes["strides"]) == [1, 1] and list(attributes["dilations"]) == [1, 1]
    constant = dense and weights.get_type_name() == "Constant"
    return weights if constant and tuple(weights.shape[2:]) == size else None


def _pads(node: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    attributes = node.get_attributes()
    if attributes["auto_pad"] != "explicit":
        return (), ()
    return tuple(attributes["pads_begin"]), tuple(attributes["pads_end"])


def _bias(node: Any, inner: Any) -> Array | None:
    """Return the numbers, one a channel, that a node adds to a port; None if it does not."""
    if node.get_type_name() != "Add":
        return None
    ports = [node.input_value(0), node.input_value(1)]
    others = [port for port in ports if _place(port) != _place(inner)]
    channels = list(inner.get_partial_shape())[1]
    if len(others) != 1 or channels.is_dynamic:
        return None
    shape = others[0].get_partial_shape()
    if shape.is_dynamic or list(shape.to_shape()) != [1, channels.get_length(), 1, 1]:
        return None
    constant = others[0].get_node()
    if constant.get_type_name() == "Reshape":
        constant = constant.input_value(0).get_node()
    return _numbers(constant).reshape(-1) if constant.get_type_name() == "Constant" else None


def _place(port: Any) -> tuple[str, int]:
    """Return what tells a port from others: nodes do not compare, `==` makes a node."""
    return port.get_node().get_name(), port.get_index()


def _numbers(constant: Any) -> Array:
    numbers: Array = constant.data
    return numbers.astype(np.float32, copy=False)
