"""3x3 convolutions in Winograd's form for OpenVINO, whose own are direct.

Each product of the form is a 1x1 convolution of an image half as wide and high, and what it multiplies is a
depthwise convolution whose taps are 1 and -1: operators that OpenVINO has fast kernels for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

from seas_runtime.backends.openvino.patterns import Convolution, find_convolution
from seas_runtime.backends.openvino.winograd import product_factors, to_bfloat16
from seas_runtime.manifest.schedule import Array

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
        found = find_convolution(node)  # what an earlier one became is its source
        if found is not None and _worth(found, half):
            _replace(found, _Writer(found.result.get_element_type(), half).write(found))
            written += 1
    if written:
        model.validate_nodes_and_infer_types()
    return written


def _worth(item: Convolution, half: bool) -> bool:
    """Tell whether a convolution gains: whole tiles, many channels, factors that the memory is for."""
    shape = item.source.get_partial_shape()
    sizes = list(shape)[2:] if shape.rank.is_static else []
    if not sizes or any(size.is_dynamic or size.get_length() % item.form.stride for size in sizes):
        return False
    outputs, inputs = item.taps.shape[:2]
    factors = len(item.form.products) ** 2 * outputs * inputs
    few = 2 * outputs * inputs / (outputs + inputs) < MIN_CHANNELS
    return not few and (half or factors <= MOST_FACTORS_IN_FULL)


class _Writer:
    """Writes one convolution with OpenVINO's operators."""

    def __init__(self, dtype: Any, half: bool) -> None:
        self._operators = importlib.import_module(_OPERATORS)
        self._dtype, self._half = dtype, half

    def write(self, item: Convolution) -> Any:
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

    def _paired(self, item: Convolution, source: Any, row: int, column: int) -> Any:
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


def _replace(item: Convolution, new: Any) -> None:
    """Let all that read a convolution's result read another port, which takes over its names."""
    for old in (item.inner, item.result):
        for user in old.get_target_inputs():
            user.replace_source_output(new)
    names = item.result.get_names()
    if names:
        item.result.set_names(set())
        new.set_names(names)
