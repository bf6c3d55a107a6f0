"""Upsampling by two and the convolution behind it, as four convolutions of the small image.

After a nearest-neighbour upsampling by two, the nine taps of a 3x3 kernel read four different pixels: which
ones depends on whether the large image's row and column are even or odd, its phase. Each of those four phases
is a 2x2 convolution of the image before the upsampling, whose kernel adds up the taps that meet; the four
results are interleaved. That is 4/9 of the operations, and the large image is never read. It is the sub-pixel
view of upsampling (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?",
https://arxiv.org/abs/1609.07009).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import (
    AnyArray,
    array_of,
    computed,
    is_weight,
    make_node,
    only_user,
    replace,
    sizes,
)

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.floating[Any]]
MIN_CHANNELS = 256
"""Fewer input channels were no faster: what the products save, interleaving takes."""
PHASES = tuple(product((0, 1), repeat=2))
"""Of the large image's rows and columns: even 0, odd 1."""
_NEAREST = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
_PLAIN = {"pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1]}


def split_upsampling(model: ir.Model) -> int:
    """Replace every upsampling by two with its 3x3 convolution, in place; returns how many.

    A weight that other nodes read as well stays for them.
    """
    graph = model.graph
    split = sum(_split(graph, node) for node in list(graph) if node.op_type == "Resize")
    if split:
        passes.RemoveUnusedNodesPass()(model)
    return split


def split_parameters(model: nn.Module) -> int:
    """Return how many numbers `split_upsampling` adds to the weights of a diffusers model's graphs."""
    from diffusers.models.upsampling import Upsample2D

    kernels = [layer.conv.weight for layer in model.modules() if isinstance(layer, Upsample2D)]
    return sum(kernel.numel() * 16 // 9 for kernel in kernels if kernel.shape[1] >= MIN_CHANNELS)


def doubled_and_convolved(resize: ir.Node, op_type: str, scales: list[int]) -> ir.Node | None:
    """Return the convolution that alone reads a nearest-neighbour upsampling by these factors along its axes.

    It has kernels of 3x3, one group, and keeps the image's size; None where there is no such.
    """
    convolution = only_user(resize.outputs[0], op_type)
    factors = resize.inputs[2] if len(resize.inputs) == 3 else None
    if convolution is None or not is_weight(factors):
        return None
    nearest = {name: resize.attributes.get_string(name) for name in _NEAREST}
    plain = {name: list(convolution.attributes.get_ints(name, ())) for name in _PLAIN}
    fits = (
        nearest == _NEAREST
        and array_of(factors).tolist() == scales
        and plain == _PLAIN
        and convolution.attributes.get_int("group", 1) == 1
        and list(convolution.attributes.get_ints("kernel_shape", ())) == [3, 3]
        and convolution.inputs[0] is resize.outputs[0]
        and all(map(is_weight, convolution.inputs[1:]))
    )
    return convolution if fits else None


def merged(taps: Floats, phase: int, axis: int) -> Floats:
    """Return a phase's two taps along an axis of three: the last two added up, in an odd one the first."""
    first, middle, last = np.moveaxis(taps, axis, 0)
    return np.stack([first, middle + last] if phase == 0 else [first + middle, last], axis)


def phase_pads(row: int, column: int) -> list[int]:
    """Return a phase's padding: an even row or column reads the pixel before its own, an odd one after."""
    return [1 - row, 1 - column, row, column]


def _split(graph: ir.Graph, resize: ir.Node) -> bool:
    convolution = doubled_and_convolved(resize, "Conv", [1, 1, 2, 2])
    if convolution is None:
        return False
    source, (_, weight, *bias) = resize.inputs[0], convolution.inputs
    assert weight is not None
    outputs, channels = sizes(weight)[:2]
    if source is None or channels < MIN_CHANNELS:
        return False
    old = convolution.outputs[0]
    small = ir.Shape([*old.shape[:2], *(_half(size) for size in old.shape[2:])]) if old.shape else None
    made: list[ir.Node] = []
    for row, column in PHASES:
        kernels = computed(
            graph,
            f"{weight.name}_phase_{row}{column}",
            weight.dtype,
            (outputs, channels, 2, 2),
            lambda row=row, column=column: _phase_kernels(array_of(weight), row, column),  # type: ignore[misc]
        )
        attributes = {"kernel_shape": [2, 2], "pads": phase_pads(row, column)}
        made.append(make_node("Conv", [source, kernels, *bias], attributes))
        made[-1].outputs[0].type, made[-1].outputs[0].shape = old.type, small
    joined = make_node("Concat", [node.outputs[0] for node in made], {"axis": 1})
    spread = make_node("DepthToSpace", joined.outputs, {"blocksize": 2, "mode": "DCR"})
    replace(graph, convolution, *made, joined, spread)
    return True


def _half(size: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    return size // 2 if isinstance(size, int) else ir.SymbolicDim(None)


def _phase_kernels(taps: AnyArray, row: int, column: int) -> AnyArray:
    """Return a phase's kernels [O,I,2,2] of those [O,I,3,3] of the large image."""
    rows = merged(taps.astype(np.float32, copy=False), row, axis=2)
    return merged(rows, column, axis=3).astype(taps.dtype, copy=False)
