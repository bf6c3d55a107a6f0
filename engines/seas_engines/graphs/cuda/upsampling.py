"""Upsampling by two and the convolution behind it, as two convolutions of the small image.

Of the nine taps of a 3x3 kernel behind a nearest-neighbour upsampling by two, those that meet in one pixel
are added up. In columns the large image's two phases become channels, three taps wide; in rows they become
two convolutions, two taps high. That is 6/9 of the operations, and what is left to do is to lay the two
results' rows under each other. Splitting columns as well takes 4/9, but then every pixel moves: bundles for
processors have it so, and here their four convolutions become two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.cuda.layout import TO_FIRST, TO_LAST
from seas_engines.graphs.surgery import (
    DOMAIN,
    AnyArray,
    Writer,
    array_of,
    computed,
    constant,
    is_weight,
    only_user,
    producer,
    replace,
    sizes,
    take_over,
    untransposed,
)
from seas_engines.graphs.upsampling import PHASES, doubled_and_convolved, merged, phase_pads


def split_upsampling(model: ir.Model) -> None:
    """Replace every upsampling by two with its 3x3 convolution, in place. All is channels last."""
    graph = model.graph
    for node in list(graph):
        if node.op_type == "Resize":
            _split(graph, node)
        elif node.op_type == "DepthToSpace":
            _rejoin(graph, node)
    passes.RemoveUnusedNodesPass()(model)


@dataclass(frozen=True, eq=False)
class _Doubled:
    """A convolution of an upsampled image, by the image before that."""

    name: str
    source: ir.Value
    outputs: int
    """Channels."""
    kernels: Callable[[int], AnyArray]
    """Gives those [2O,2,3,I] of a phase of rows, even columns before odd."""
    bias: Sequence[ir.Value]
    """[2O], or nothing."""

    def write(self, graph: ir.Graph, shape: ir.Shape | None) -> list[ir.Node]:
        """Return the nodes that end in the large image [B,2H,2W,O]; none where H or W is not known."""
        source, outputs = self.source, self.outputs
        images, height, width, channels = source.shape if source.shape is not None else (None,) * 4
        if not (isinstance(height, int) and isinstance(width, int) and isinstance(channels, int)):
            return []
        dtype = source.dtype or ir.DataType.FLOAT
        write = Writer(self.name, like=source, start=0)
        op = write.op
        count = op("Shape", source, start=0, end=1)
        once = op("Concat", count, constant(graph, "ones", np.array([1, 1, 1], np.int64)), axis=0)
        count.type = once.type = ir.TensorType(ir.DataType.INT64)
        row_of_zeros = np.zeros((1, 1, width, channels), dtype.numpy())
        edge = op("Expand", constant(graph, f"{self.name}_edge", row_of_zeros), once)
        rows = []
        for row in (0, 1):
            kernels = computed(
                graph,
                f"{self.name}_row{row}",
                dtype,
                (2 * outputs, 2, 3, channels),
                lambda row=row: self.kernels(row),  # type: ignore[misc]
            )
            # cuDNN wants as much padding above as below, and the provider's Pad is slow: a row is joined on.
            padded = op("Concat", *([edge, source] if row == 0 else [source, edge]), axis=1)
            sides = {"kernel_shape": [2, 3], "pads": [0, 1, 0, 1]}
            found = op("NhwcConv", padded, kernels, *self.bias, domain=DOMAIN, **sides)
            found.shape = ir.Shape([images, height, width, 2 * outputs])
            flat = constant(graph, "sizes", np.array([0, height, 1, 2 * width * outputs], np.int64))
            rows.append(op("Reshape", found, flat))
        joined = op("Concat", *rows, axis=2)
        large = constant(graph, "sizes", np.array([0, 2 * height, 2 * width, outputs], np.int64))
        op("Reshape", joined, large).shape = shape
        return write.made


def _split(graph: ir.Graph, resize: ir.Node) -> None:
    """Rewrite an upsampling and the convolution that alone reads it."""
    convolution, source = doubled_and_convolved(resize, "NhwcConv", [1, 2, 2, 1]), resize.inputs[0]
    if convolution is None or source is None or convolution.outputs[0].is_graph_output():
        return
    weight, name = convolution.inputs[1], str(convolution.name)
    assert weight is not None
    bias = _twice(graph, convolution)
    doubled = _Doubled(name, source, sizes(weight)[0], lambda row: _of_nine_taps(array_of(weight), row), bias)
    made = doubled.write(graph, convolution.outputs[0].shape)
    if made:
        replace(graph, convolution, *made, named=False)


def _rejoin(graph: ir.Graph, spread: ir.Node) -> None:
    """Rewrite four convolutions of 2x2 kernels, whose results `spread` interleaves by rows and columns."""
    large = [use.node.outputs[0] for use in spread.outputs[0].uses()]
    joined = producer(untransposed(spread.inputs[0], TO_FIRST[4]), "Concat")
    phases = [producer(value, "NhwcConv") for value in joined.inputs] if joined is not None else []
    found = [node for node in phases if node is not None and only_user(node.outputs[0], "Concat")]
    if (
        not len(phases) == len(found) == len(PHASES)
        or any(untransposed(value, TO_LAST[4]) is None for value in large)
        or any(value.is_graph_output() for value in (spread.outputs[0], *large))
        or spread.attributes.get_string("mode", "DCR") != "DCR"
        or spread.attributes.get_int("blocksize") != 2
    ):
        return
    first = found[0]
    source, name = first.inputs[0], str(first.name)
    kernels = [node.inputs[1] for node in found]
    for node, phase in zip(found, PHASES, strict=True):
        same = node.inputs[0] is source and node.inputs[2:] == first.inputs[2:]
        if not same or list(node.attributes.get_ints("pads", ())) != phase_pads(*phase):
            return
        if not all(map(is_weight, node.inputs[1:])):
            return
    weights = [value for value in kernels if value is not None and sizes(value)[1:3] == [2, 2]]
    if source is None or len(weights) != len(PHASES):
        return
    doubled = _Doubled(
        name,
        source,
        sizes(weights[0])[0],
        lambda row: _of_two_columns(*map(array_of, weights[2 * row : 2 * row + 2])),
        _twice(graph, first),
    )
    made = doubled.write(graph, large[0].shape if large else None)
    if made:
        graph.insert_after(found[-1], made)
        for value in large:
            take_over(value, made[-1].outputs[0], named=False)


def _twice(graph: ir.Graph, convolution: ir.Node) -> list[ir.Value]:
    """Return a convolution's bias for both phases of columns, where it has one."""
    given = [value for value in convolution.inputs[2:] if value is not None]
    return [constant(graph, f"{value.name}_doubled", np.tile(array_of(value), 2)) for value in given]


def _of_nine_taps(taps: AnyArray, row: int) -> AnyArray:
    """Return the kernels of a phase of rows from those [O,3,3,I] of the large image."""
    rows = merged(taps.astype(np.float32), row, axis=1)
    even, odd = (merged(rows, column, axis=2) for column in (0, 1))
    return _of_two_columns(even, odd).astype(taps.dtype)


def _of_two_columns(even: AnyArray, odd: AnyArray) -> AnyArray:
    """Return [2O,2,3,I] of kernels [O,2,2,I]: even columns read the pixel before theirs, odd ones after."""
    none = np.zeros_like(even[:, :, :1])
    return np.concatenate([np.concatenate([even, none], 2), np.concatenate([none, odd], 2)])
