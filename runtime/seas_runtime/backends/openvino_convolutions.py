"""3x3 convolutions in Winograd's form for OpenVINO, whose own are direct.

Each product of the form is a 1x1 convolution of an image half as wide and high, and what it multiplies is a
depthwise convolution whose taps are 1 and -1: operators that OpenVINO has fast kernels for.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.backends.cores import processor_flags
from seas_runtime.backends.winograd import DOUBLED, SAME, Form, product_factors, to_bfloat16
from seas_runtime.schedule import Array

FORM = "winograd 1"
"""What this module does to a graph; a graph compiled with another is compiled again."""
MIN_CHANNELS = 192
"""Harmonic mean of input's and output's; with fewer the additions take back most of what the products save.

From 1.1 times faster in images larger than the cache to 1.5 times in small ones, measured on two cores; the
steps of `micro`, of 144 channels, were slower for it.
"""
MOST_FACTORS_IN_FULL = 16 * 640 * 640
"""Factors of a convolution up to which they are worth their memory in float32, where they are held twice.

Stable Diffusion's U-Net took 5 GiB less without its larger ones, whose images are small, and as long.
"""
_OPERATORS = "openvino.opset13"


def winograd_pays(half: bool) -> bool:
    """Tell whether the form pays on this processor, with products in bfloat16 or in float32.

    Matrix units (AMX) multiply several times as fast and leave the additions as slow; OpenVINO's convolutions
    for ARM have forms of their own. Neither was measured, so both keep what they have, as does bfloat16 where
    what the processor can do is not known.
    """
    flags = processor_flags(Path("/proc/cpuinfo"))
    vectors = "avx512_bf16" in flags and "amx_bf16" not in flags
    return platform.machine().lower() in {"x86_64", "amd64"} and (vectors or not half)


def use_winograd(model: Any, half: bool) -> int:
    """Write the convolutions of an OpenVINO model that gain by it in Winograd's form; return how many.

    Args:
        model: the model, changed in place. Images need a fixed height and width, even ones but where a
            convolution follows an upsampling.
        half: whether to write the form in bfloat16, where OpenVINO would compute it so anyway; said in the
            graph, it spares a copy of all factors in float32.
    """
    written = 0
    for node in model.get_ordered_ops():
        found = _found(node)  # what an earlier one became is its source
        if found is not None and (half or found.factors <= MOST_FACTORS_IN_FULL):
            _replace(found, _Writer(found.result.get_element_type(), half).write(found))
            written += 1
    if written:
        model.validate_nodes_and_infer_types()
    return written


@dataclass(frozen=True)
class _Convolution:
    """A convolution that gains by it.

    Attributes:
        form: the form to write.
        source: the port [B,I,H,W] that it reads.
        taps: its weights [O,I,T,T], T taps along each axis.
        bias: the numbers [O] added to it, if they are known.
        result: the port with its result, with `bias` added.
        inner: the port with its result before that, whose shape others may ask for.
    """

    form: Form
    source: Any
    taps: Array
    bias: Array | None
    result: Any
    inner: Any

    @property
    def factors(self) -> int:
        """Return how many numbers the products' factors are."""
        return len(self.form.products) ** 2 * int(np.prod(self.taps.shape[:2]))


def _found(node: Any) -> _Convolution | None:
    kind = node.get_type_name()
    if kind == "Convolution":
        return _same_size(node)
    return _upsampling(node) if kind == "DepthToSpace" else None


def _same_size(node: Any) -> _Convolution | None:
    """Return a 3x3 convolution of stride one that keeps the image's size."""
    weights = _weights(node, (3, 3))
    if weights is None or _pads(node) != ((1, 1), (1, 1)) or not _worth(node.input_value(0), weights, SAME):
        return None
    inner = node.output(0)
    users = [port.get_node() for port in inner.get_target_inputs()]
    added = [user for user in users if user.get_type_name() != "ShapeOf"]
    bias = _bias(added[0], inner) if len(added) == 1 else None
    result = inner if bias is None else added[0].output(0)
    return _Convolution(SAME, node.input_value(0), _numbers(weights), bias, result, inner)


def _upsampling(node: Any) -> _Convolution | None:
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
    if (
        any(weight is None for weight in weights)
        or len(sources) != 1
        or not _worth(source, weights[0], DOUBLED)
    ):
        return None
    if any(weight.get_shape() != weights[0].get_shape() for weight in weights):
        return None
    known = [bias for bias in biases if bias is not None]
    if len(known) not in {0, 4} or any(not np.array_equal(bias, known[0]) for bias in known):
        return None
    output, inputs = weights[0].get_shape()[:2]
    taps = np.stack([_numbers(weight) for weight in weights]).reshape(2, 2, output, inputs, 2, 2)
    taps = taps.transpose(2, 3, 0, 4, 1, 5).reshape(output, inputs, 4, 4)
    if not _of_one_kernel(taps, weights[0].get_element_type().to_dtype()):
        return None
    result = node.output(0)
    return _Convolution(DOUBLED, source, taps, known[0] if known else None, result, result)


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
    shape = tuple(weights.output(0).get_shape()[2:]) if constant else None
    return weights.output(0) if shape == size else None


def _pads(node: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    attributes = node.get_attributes()
    if attributes["auto_pad"] != "explicit":
        return (), ()
    return tuple(attributes["pads_begin"]), tuple(attributes["pads_end"])


def _worth(source: Any, weights: Any, form: Form) -> bool:
    """Tell whether an image's sizes are known and even, and its channels many enough."""
    shape = source.get_partial_shape()
    sizes = list(shape)[2:] if shape.rank.is_static else []
    if not sizes or any(size.is_dynamic or size.get_length() % form.stride for size in sizes):
        return False
    outputs, inputs = weights.get_shape()[:2]
    return bool(2 * outputs * inputs / (outputs + inputs) >= MIN_CHANNELS)


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
    return _numbers(constant.output(0)).reshape(-1) if constant.get_type_name() == "Constant" else None


def _place(port: Any) -> tuple[str, int]:
    """Return what tells a port from others: nodes do not compare, `==` makes a node."""
    return port.get_node().get_name(), port.get_index()


def _numbers(constant: Any) -> Array:
    numbers: Array = constant.get_node().data
    return numbers.astype(np.float32, copy=False)


class _Writer:
    """Writes one convolution with OpenVINO's operators."""

    def __init__(self, dtype: Any, half: bool) -> None:
        self._operators = importlib.import_module(_OPERATORS)
        self._dtype, self._half = dtype, half

    def write(self, item: _Convolution) -> Any:
        """Return the port of the result [B,O,H,W]."""
        form, operators = item.form, self._operators
        source = operators.convert(item.source, "bf16") if self._half else item.source
        factors = product_factors(form.factors, item.taps)
        count = range(len(form.products))
        made = {}
        for row, column in product(count, count):
            value = operators.convolution(
                self._paired(item, source, row, column),
                self._constant(factors[row, column][..., None, None]),
                *([1, 1], [0, 0], [0, 0], [1, 1]),
            )
            if item.bias is not None and (row, column) == (form.everywhere, form.everywhere):
                value = operators.add(value, self._constant(item.bias.reshape(1, -1, 1, 1)))
            made[row, column] = value
        rows = [
            [self._sum([made[row, column] for row in count], signs) for column in count]
            for signs in form.outputs
        ]
        phases = [self._sum(values, signs) for values in rows for signs in form.outputs]
        whole = operators.depth_to_space(operators.concat(phases, 1), "blocks_first", 2)
        return (operators.convert(whole, self._dtype) if self._half else whole).output(0)

    def _paired(self, item: _Convolution, source: Any, row: int, column: int) -> Any:
        """Return what one product takes of every tile: sums and differences of pixels."""
        form = item.form
        taken = (form.products[row], form.products[column])
        taps = np.outer(taken[0].signs, taken[1].signs)
        if taps.size == 1:
            return source
        sizes = [size.get_length() for size in list(item.source.get_partial_shape())[2:]]
        pads = [one.pads(size, form.stride) for one, size in zip(taken, sizes, strict=True)]
        every_channel = np.broadcast_to(taps, (item.taps.shape[1], 1, 1, *taps.shape))
        return self._operators.group_convolution(
            source,
            self._constant(every_channel),
            [form.stride, form.stride],
            [begin for begin, _ in pads],
            [end for _, end in pads],
            [max(1, one.apart) for one in taken],
        )

    def _sum(self, values: Iterable[Any], signs: Iterable[int]) -> Any:
        total = None
        for value, sign in zip(values, signs, strict=True):
            if sign and total is None:
                total = value
            elif sign:
                total = (self._operators.add if sign > 0 else self._operators.subtract)(total, value)
        return total

    def _constant(self, numbers: Array) -> Any:
        """Return numbers as a constant."""
        if not self._half:
            return self._operators.constant(np.ascontiguousarray(numbers), self._dtype)
        import openvino

        tensor = openvino.Tensor(openvino.Type.bf16, openvino.Shape(numbers.shape))
        tensor.data.view(np.uint16)[...] = to_bfloat16(numbers)
        return openvino.op.Constant(tensor)


def _replace(item: _Convolution, new: Any) -> None:
    """Let all that read a convolution's result read another port, which takes over its names."""
    for old in {_place(port): port for port in (item.inner, item.result)}.values():
        for user in old.get_target_inputs():
            user.replace_source_output(new)
    names = item.result.get_names()
    if names:
        item.result.set_names(set())
        new.set_names(names)
