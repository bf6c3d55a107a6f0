"""Upsampling by two and the convolution behind it, as four convolutions of the small image.

After a nearest-neighbour upsampling by two, the nine taps of a 3x3 kernel read four different pixels: which
ones depends on whether the output's row and column are even or odd. Each of those four phases is a 2x2
convolution of the image before the upsampling, whose kernel adds up the taps that meet; the four results are
interleaved. That is 4/9 of the operations, and the large image is never read. It is the sub-pixel view of
upsampling (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?",
https://arxiv.org/abs/1609.07009).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes
from torch import nn

from seas_engines.graphs.matching import only_user
from seas_engines.graphs.phases import doubles, keeps_size, merged

MIN_CHANNELS = 256
"""Fewer input channels were no faster: what the products save, interleaving takes."""
_PHASES = tuple(product((0, 1), repeat=2))


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


def _split(graph: ir.Graph, resize: ir.Node) -> bool:
    convolution = _doubled_and_convolved(resize)
    if convolution is None:
        return False
    source, (_, weight, *bias) = resize.inputs[0], convolution.inputs
    kernel = ir.convenience.get_const_tensor(weight) if weight is not None else None
    if source is None or weight is None or kernel is None or kernel.shape[1] < MIN_CHANNELS:
        return False
    old = convolution.outputs[0]
    half = ir.Shape([*old.shape[:2], *(_half(size) for size in old.shape[2:])]) if old.shape else None
    made: list[ir.Node] = []
    for (row, column), tensor in zip(_PHASES, _phase_kernels(kernel), strict=True):
        name = f"{weight.name}_phase_{row}{column}"
        if name not in graph.initializers:
            graph.register_initializer(
                ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
            )
        # An even row or column reads the pixel before its own, an odd one the pixel after it.
        pads = [1 - row, 1 - column, row, column]
        attributes = ir.convenience.convert_attributes({"kernel_shape": [2, 2], "pads": pads})
        made.append(ir.Node("", "Conv", [source, graph.initializers[name], *bias], attributes))
        made[-1].outputs[0].shape, made[-1].outputs[0].type = half, old.type
    joined = ir.Node("", "Concat", [node.outputs[0] for node in made], [ir.AttrInt64("axis", 1)])
    spread = ir.Node(
        "",
        "DepthToSpace",
        joined.outputs,
        ir.convenience.convert_attributes({"blocksize": 2, "mode": "DCR"}),
    )
    result = spread.outputs[0]
    result.name, result.shape, result.type = old.name, old.shape, old.type
    old.name = f"{old.name}_before"
    graph.insert_after(convolution, [*made, joined, spread])
    ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
    graph.remove(convolution, safe=True)
    return True


def _half(size: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    return size // 2 if isinstance(size, int) else ir.SymbolicDim(None)


def _doubled_and_convolved(resize: ir.Node) -> ir.Node | None:
    """Return the 3x3 convolution that alone reads a nearest-neighbour upsampling by two, if it is one."""
    convolution = only_user(resize.outputs[0], "Conv")
    if convolution is None or not doubles(resize, [1, 1, 2, 2]) or not keeps_size(convolution):
        return None
    shape = convolution.attributes.get("kernel_shape")
    square = shape is not None and list(shape.as_ints()) == [3, 3]
    return convolution if square and convolution.inputs[0] is resize.outputs[0] else None


def _phase_kernels(kernel: ir.TensorProtocol) -> list[ir.TensorProtocol]:
    """Return the 2x2 kernels [O,I,2,2] of a kernel [O,I,3,3]: for even and odd rows, and columns in each."""
    taps = kernel.numpy()
    rows = [merged(taps.astype(np.float32, copy=False), phase, axis=2) for phase in (0, 1)]
    return [
        ir.tensor(merged(rows[row], column, axis=3).astype(taps.dtype, copy=False)) for row, column in _PHASES
    ]
