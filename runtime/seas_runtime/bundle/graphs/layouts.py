"""Sizes of what operators make that move, cut, join, enlarge or convolve: see `rules`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seas_runtime.bundle.graphs.model import KNOWN_ELEMENTS, Node
from seas_runtime.bundle.graphs.rules import (
    Given,
    Made,
    Rule,
    Sized,
    axis_of,
    broadcast,
    first,
    known,
    made,
    scalar_values,
    whole,
)


def reshaped(node: Node, given: Given) -> Made:
    """Return the same elements in another shape; 0 keeps a size, -1 takes the rest."""
    source, sizes = first(given), whole(known(given, 1))
    if not node.attributes.get("allowzero"):
        sizes = [source.shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    if sizes.count(-1) == 1:
        others = math.prod(size for size in sizes if size != -1)
        sizes[sizes.index(-1)] = source.elements // others if others else 0
    if min(sizes, default=0) < 0 or math.prod(sizes) != source.elements:
        raise ValueError(f"{list(source.shape)} as {sizes}")
    return scalar_values(source, lambda values: values.reshape(sizes), sizes)


def squeezed(node: Node, given: Given) -> Made:
    """Return a shape without axes of one."""
    source = first(given)
    axes = node.attributes.get("axes") or whole(known(given, 1, np.array([], "int64")))
    chosen = {axis_of(axis, len(source.shape)) for axis in axes} or {
        axis for axis, size in enumerate(source.shape) if size == 1
    }
    if any(source.shape[axis] != 1 for axis in chosen):
        raise ValueError(f"{list(source.shape)} without the axes {sorted(chosen)}")
    shape = [size for axis, size in enumerate(source.shape) if axis not in chosen]
    return scalar_values(source, lambda values: values.reshape(shape), shape)


def unsqueezed(node: Node, given: Given) -> Made:
    """Return a shape with more axes of one."""
    source = first(given)
    axes = node.attributes.get("axes") or whole(known(given, 1))
    rank = len(source.shape) + len(axes)
    chosen, sizes = {axis_of(axis, rank) for axis in axes}, iter(source.shape)
    if len(chosen) != len(axes):
        raise ValueError("an axis twice")
    shape = [1 if axis in chosen else next(sizes) for axis in range(rank)]
    return scalar_values(source, lambda values: values.reshape(shape), shape)


def transposed(node: Node, given: Given) -> Made:
    """Return the axes in another order."""
    source = first(given)
    order = node.attributes.get("perm", list(range(len(source.shape)))[::-1])
    if sorted(order) != list(range(len(source.shape))):
        raise ValueError(f"{list(source.shape)} in the order {order[:9]}")
    return scalar_values(
        source, lambda values: values.transpose(order), [source.shape[axis] for axis in order]
    )


def flattened(node: Node, given: Given) -> Made:
    """Return two axes in the place of all."""
    source, axis = first(given), node.attributes.get("axis", 1)
    return made((math.prod(source.shape[:axis]), math.prod(source.shape[axis:])), source)


def expanded(node: Node, given: Given) -> Made:
    """Return a shape repeated along axes of one."""
    source, sizes = first(given), whole(known(given, 1))
    shape = broadcast([source.shape, tuple(sizes)])
    small = math.prod(shape) <= KNOWN_ELEMENTS and source.values is not None
    values = np.broadcast_to(source.values, shape) if small and source.values is not None else None
    return Made((Sized(shape, source.dtype, values),), math.prod(shape))


def joined(node: Node, given: Given) -> Made:
    """Return several tensors behind one another."""
    parts = [part for part in given if part is not None]
    axis = axis_of(node.attributes.get("axis", 0), len(parts[0].shape))
    rest = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts}
    if len(rest) != 1:
        raise ValueError("parts of other sizes")
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    arrays = [part.values for part in parts if part.values is not None]
    small = len(arrays) == len(parts) and math.prod(shape) <= KNOWN_ELEMENTS
    values = np.concatenate(arrays, axis) if small else None
    return Made((Sized(tuple(shape), parts[0].dtype, values),), math.prod(shape))


def split(node: Node, given: Given) -> Made:
    """Return the parts of a tensor."""
    source, count = first(given), len(node.outputs)
    axis = axis_of(node.attributes.get("axis", 0), len(source.shape))
    even = -(-source.shape[axis] // count)
    default = [min(even, max(0, source.shape[axis] - place * even)) for place in range(count)]
    sizes = node.attributes.get("split") or whole(known(given, 1, np.array(default)))
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != source.shape[axis]:
        raise ValueError(f"{source.shape[axis]} in parts of {sizes[:9]}")
    outputs, begin = [], 0
    for size in sizes:
        values = None if source.values is None else source.values.take(range(begin, begin + size), axis)
        outputs.append(Sized((*source.shape[:axis], size, *source.shape[axis + 1 :]), source.dtype, values))
        begin += size
    return Made(tuple(outputs), source.elements)


def sliced(node: Node, given: Given) -> Made:
    """Return what cuts leave."""
    source = first(given)
    starts, ends = whole(known(given, 1)), whole(known(given, 2))
    axes = whole(known(given, 3, np.arange(len(starts))))
    steps = whole(known(given, 4, np.ones(len(starts), "int64")))
    cuts = [slice(None)] * len(source.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # before the first element, going backward, is no place that Python can name
        last = None if step < 0 and end < -source.shape[axis] else end
        cuts[axis_of(axis, len(source.shape))] = slice(start, last, step)
    shape = [len(range(*cut.indices(size))) for cut, size in zip(cuts, source.shape, strict=True)]
    return scalar_values(source, lambda values: values[tuple(cuts)], shape)


def gathered(node: Node, given: Given) -> Made:
    """Return what places along an axis hold."""
    source, places = first(given), first(given, 1)
    axis = axis_of(node.attributes.get("axis", 0), len(source.shape))
    shape = (*source.shape[:axis], *places.shape, *source.shape[axis + 1 :])
    values = None
    if source.values is not None and places.values is not None and math.prod(shape) <= KNOWN_ELEMENTS:
        values = np.asarray(source.values.take(places.values.astype("int64"), axis))
    return Made((Sized(shape, source.dtype, values),), math.prod(shape))


def gathered_nd(node: Node, given: Given) -> Made:
    """Return what places along several axes hold."""
    source, places = first(given), first(given, 1)
    batch = node.attributes.get("batch_dims", 0)
    return made((*places.shape[:-1], *source.shape[batch + places.shape[-1] :]), source)


def padded(node: Node, given: Given) -> Made:
    """Return a shape with borders, which may be negative."""
    source, pads = first(given), whole(known(given, 1))
    axes = whole(known(given, 3, np.arange(len(source.shape))))
    shape = list(source.shape)
    for place, axis in enumerate(axes):
        shape[axis_of(axis, len(shape))] += pads[place] + pads[place + len(axes)]
    if min(shape, default=0) < 0:
        raise ValueError(f"{list(source.shape)} padded by {pads[:9]}")
    return made(shape, source, math.prod(shape))


def resized(node: Node, given: Given) -> Made:
    """Return a shape enlarged by factors, or to sizes."""
    source = first(given)
    if len(given) > 3 and given[3] is not None:
        sizes = whole(known(given, 3))
    else:
        factors = known(given, 2).astype("float64").reshape(-1)
        if not np.isfinite(factors).all():
            raise ValueError("a factor that is no number")
        sizes = [math.floor(size * factor) for size, factor in zip(source.shape, factors, strict=True)]
    axes = node.attributes.get("axes", range(len(source.shape)))
    shape = list(source.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis_of(axis, len(shape))] = size
    if min(shape, default=0) < 0:
        raise ValueError(f"sizes {shape}")
    # interpolation in one dimension after another holds one more
    return made(shape, source, 16 * math.prod(shape), 4 * math.prod(shape))


def deeper(node: Node, given: Given) -> Made:
    """Return blocks of channels laid out as pixels."""
    source, block = first(given), node.attributes.get("blocksize", 0)
    batch, channels, height, width = source.shape
    if block < 1 or channels % block**2:
        raise ValueError(f"blocks of {block} of {channels} channels")
    return made((batch, channels // block**2, height * block, width * block), source, source.elements)


def convolved(last: bool = False) -> Rule:
    """Return the rule of a convolution, channels first or `last`."""

    def rule(node: Node, given: Given) -> Made:
        source, kernel = first(given), first(given, 1)
        inner, window = source.shape[2:], kernel.shape[2:]
        if last:
            inner, window = source.shape[1:-1], kernel.shape[1:-1]
        if len(inner) != len(window) or not inner:
            raise ValueError(f"{list(source.shape)} under {list(kernel.shape)}")
        sizes = _windows(node, inner, window)
        outputs = kernel.shape[0]
        shape = (source.shape[0], *sizes, outputs) if last else (source.shape[0], outputs, *sizes)
        per_output = math.prod(kernel.shape[1:])
        return made(shape, source, math.prod(shape) * per_output)

    return rule


def pooled(node: Node, given: Given) -> Made:
    """Return one element a window."""
    source, window = first(given), node.attributes.get("kernel_shape", [])
    if len(window) != len(source.shape) - 2 or not window:
        raise ValueError(f"{list(source.shape)} in windows of {window[:9]}")
    shape = (*source.shape[:2], *_windows(node, source.shape[2:], window))
    return made(shape, source, math.prod(shape) * math.prod(window))


def _windows(node: Node, sizes: Sequence[int], window: Sequence[int]) -> list[int]:
    """Return in how many places a window fits."""
    count, told = len(sizes), node.attributes
    strides = _positive(told.get("strides", [1] * count), count)
    dilations = _positive(told.get("dilations", [1] * count), count)
    _positive(window, count)
    pads = told.get("pads", [0] * 2 * count)
    if len(pads) != 2 * count or min(pads) < 0:
        raise ValueError(f"pads of {pads[:9]}")
    if told.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        return [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    found = []
    for axis, size in enumerate(sizes):
        span = size + pads[axis] + pads[axis + count] - dilations[axis] * (window[axis] - 1) - 1
        rounded = -(-span // strides[axis]) if told.get("ceil_mode") else span // strides[axis]
        found.append(rounded + 1)
    if min(found) < 0:
        raise ValueError(f"a window of {list(window)} in {list(sizes)}")
    return found


def unpooled(node: Node, given: Given) -> Made:
    """A transposed convolution: every input is spread by its stride."""
    source, kernel, told = first(given), first(given, 1), node.attributes
    count = len(source.shape) - 2
    strides = _positive(told.get("strides", [1] * count), count)
    dilations = _positive(told.get("dilations", [1] * count), count)
    more, pads = told.get("output_padding", [0] * count), told.get("pads", [0] * 2 * count)
    sizes = [
        strides[axis] * (source.shape[axis + 2] - 1)
        + more[axis]
        + (kernel.shape[axis + 2] - 1) * dilations[axis]
        + 1
        - pads[axis]
        - pads[axis + count]
        for axis in range(count)
    ]
    channels = kernel.shape[1] * told.get("group", 1)
    if min(sizes, default=0) < 0 or "output_shape" in told or "auto_pad" in told:
        raise ValueError(f"a transposed convolution to {sizes}")
    work = source.elements * math.prod(kernel.shape[1:])
    return made((source.shape[0], channels, *sizes), source, work)


def _positive(values: Sequence[int], count: int) -> Sequence[int]:
    if len(values) != count or min(values, default=1) < 1:
        raise ValueError(f"{list(values)[:9]} for {count} dimensions")
    return values
