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

from seas_engines.graphs.attention import DOMAIN
from seas_engines.graphs.cuda.layout import TO_FIRST, TO_LAST
from seas_engines.graphs.cuda.values import AnyArray, array_of, computed, constant, is_weight, sizes
from seas_engines.graphs.matching import only_user, producer
from seas_engines.graphs.phases import doubles, keeps_size, merged


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
    """A convolution [O,I] of an upsampled image, by the image before that.

    `kernels` gives those [2O,2,3,I] of a phase of rows, even columns before odd; `bias` is [2O] or nothing.
    """

    name: str
    source: ir.Value
    outputs: int
    kernels: Callable[[int], AnyArray]
    bias: Sequence[ir.Value]

    def write(self, graph: ir.Graph, after: ir.Node, shape: ir.Shape | None) -> ir.Value | None:
        """Write it behind a node; returns the large image [B,2H,2W,O], None where H or W is not known."""
        source, outputs = self.source, self.outputs
        height, width, channels = source.shape[1:] if source.shape is not None else (None,) * 3
        if not (isinstance(height, int) and isinstance(width, int) and isinstance(channels, int)):
            return None
        dtype = source.dtype or ir.DataType.FLOAT
        made: list[ir.Node] = []

        def op(domain: str, op_type: str, inputs: Sequence[ir.Value], **attributes: object) -> ir.Value:
            node = ir.Node(domain, op_type, inputs, ir.convenience.convert_attributes(attributes))
            node.name = f"{self.name}_{op_type.lower()}_{len(made)}"
            node.outputs[0].name, node.outputs[0].type = f"{node.name}_out", source.type
            made.append(node)
            return node.outputs[0]

        images = op("", "Shape", [source], start=0, end=1)
        once = op("", "Concat", [images, constant(graph, "ones", np.array([1, 1, 1], np.int64))], axis=0)
        images.type = once.type = ir.TensorType(ir.DataType.INT64)
        row_of_zeros = np.zeros((1, 1, width, channels), dtype.numpy())
        edge = op("", "Expand", [constant(graph, f"{self.name}_edge", row_of_zeros), once])
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
            padded = op("", "Concat", [edge, source] if row == 0 else [source, edge], axis=1)
            inputs = [padded, kernels, *self.bias]
            found = op(DOMAIN, "NhwcConv", inputs, kernel_shape=[2, 3], pads=[0, 1, 0, 1])
            found.shape = ir.Shape([source.shape[0] if source.shape else None, height, width, 2 * outputs])
            flat = constant(graph, "sizes", np.array([0, height, 1, 2 * width * outputs], np.int64))
            rows.append(op("", "Reshape", [found, flat]))
        joined = op("", "Concat", rows, axis=2)
        large = constant(graph, "sizes", np.array([0, 2 * height, 2 * width, outputs], np.int64))
        result = op("", "Reshape", [joined, large])
        result.shape = shape
        graph.insert_after(after, made)
        return result


def _split(graph: ir.Graph, resize: ir.Node) -> None:
    """Rewrite an upsampling and the convolution that alone reads it."""
    convolution, source = only_user(resize.outputs[0], "NhwcConv"), resize.inputs[0]
    if convolution is None or source is None:
        return
    if not doubles(resize, [1, 2, 2, 1]) or not keeps_size(convolution):
        return
    old, weight = convolution.outputs[0], convolution.inputs[1]
    if weight is None or not all(map(is_weight, convolution.inputs[1:])) or old.is_graph_output():
        return
    outputs, height, width, _ = sizes(weight)
    if (height, width) != (3, 3):
        return
    doubled = _Doubled(
        str(convolution.name),
        source,
        outputs,
        lambda row: _of_nine_taps(array_of(weight), row),
        _twice(graph, convolution.inputs[2:]),
    )
    result = doubled.write(graph, convolution, old.shape)
    if result is not None:
        ir.convenience.replace_all_uses_with(old, result)
        graph.remove(convolution, safe=True)


def _rejoin(graph: ir.Graph, spread: ir.Node) -> None:
    """Rewrite four convolutions of 2x2 kernels, whose results `spread` interleaves by rows and columns."""
    back = list(spread.outputs[0].uses())
    turned = producer(spread.inputs[0], "Transpose")
    joined = producer(turned.inputs[0], "Concat") if turned is not None else None
    if (
        turned is None
        or joined is None
        or _order(turned) != TO_FIRST[4]
        or spread.outputs[0].is_graph_output()
    ):
        return
    if not all(use.node.op_type == "Transpose" and _order(use.node) == TO_LAST[4] for use in back):
        return
    if any(use.node.outputs[0].is_graph_output() for use in back):
        return
    phases = [producer(value, "NhwcConv") for value in joined.inputs]
    found = [node for node in phases if node is not None]
    if len(found) != 4 or any(only_user(node.outputs[0], "Concat") is None for node in found):
        return
    mode = spread.attributes["mode"].as_string() if "mode" in spread.attributes else "DCR"
    if mode != "DCR" or spread.attributes["blocksize"].as_int() != 2:
        return
    pads = [list(node.attributes["pads"].as_ints()) for node in found if "pads" in node.attributes]
    if pads != [[1 - row, 1 - column, row, column] for row in (0, 1) for column in (0, 1)]:
        return
    source = found[0].inputs[0]
    if source is None or any(node.inputs[0] is not source for node in found):
        return
    if not all(is_weight(value) for node in found for value in node.inputs[1:]):
        return
    weights = [node.inputs[1] for node in found]
    kernels = [value for value in weights if value is not None and sizes(value)[1:3] == [2, 2]]
    if len(kernels) != 4 or any(node.inputs[2:] != found[0].inputs[2:] for node in found):
        return
    doubled = _Doubled(
        str(found[0].name),
        source,
        sizes(kernels[0])[0],
        lambda row: _of_two_columns(*(array_of(value) for value in kernels[2 * row : 2 * row + 2])),
        _twice(graph, found[0].inputs[2:]),
    )
    result = doubled.write(graph, found[-1], back[0].node.outputs[0].shape if back else None)
    if result is None:
        return
    for use in back:
        ir.convenience.replace_all_uses_with(use.node.outputs[0], result)


def _twice(graph: ir.Graph, biases: Sequence[ir.Value | None]) -> list[ir.Value]:
    """Return a bias for both phases of columns, where there is one."""
    given = [value for value in biases if value is not None]
    return [constant(graph, f"{value.name}_doubled", np.tile(array_of(value), 2)) for value in given]


def _order(transpose: ir.Node) -> list[int]:
    return list(transpose.attributes["perm"].as_ints())


def _of_nine_taps(taps: AnyArray, row: int) -> AnyArray:
    """Return the kernels of a phase of rows from those [O,3,3,I] of the large image."""
    rows = merged(taps.astype(np.float32), row, axis=1)
    even, odd = (merged(rows, column, axis=2) for column in (0, 1))
    return _of_two_columns(even, odd).astype(taps.dtype)


def _of_two_columns(even: AnyArray, odd: AnyArray) -> AnyArray:
    """Return [2O,2,3,I] of kernels [O,2,2,I]: even columns read the pixel before theirs, odd ones after."""
    none = np.zeros_like(even[:, :, :1])
    return np.concatenate([np.concatenate([even, none], 2), np.concatenate([none, odd], 2)])
