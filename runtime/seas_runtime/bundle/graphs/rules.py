"""How large what an operator makes is, by its inputs: a rule for each that our graphs have.

Shapes are computed within a graph (Shape, Gather, Concat, Reshape), so values of small integers are carried
along. A rule raises ValueError where a size cannot be told before the graph runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seas_runtime.bundle.graphs.model import DTYPES, KNOWN_ELEMENTS, Node, Tensor

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sized:
    """What is known of a tensor before the graph runs; `values` of small ones, which shapes are made of."""

    shape: Shape
    dtype: str
    values: Array | None = None

    @property
    def elements(self) -> int:
        """How many it has."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Made:
    """What a node makes, the multiplications that it takes, and bytes that it needs meanwhile."""

    outputs: tuple[Sized, ...]
    work: int = 0
    scratch: int = 0


Given = Sequence[Sized | None]
Rule = Callable[[Node, Given], Made]


def first(given: Given, place: int = 0) -> Sized:
    """Return an input that an operator must have."""
    found = given[place] if place < len(given) else None
    if found is None:
        raise ValueError(f"no input {place}")
    return found


def known(given: Given, place: int, default: Array | None = None) -> Array:
    """Return the values of an input that tells sizes."""
    if default is not None and (place >= len(given) or given[place] is None):
        return default
    values = first(given, place).values
    if values is None:
        raise ValueError(f"sizes by input {place}, which nobody knows before it runs")
    return values


def whole(values: Array) -> list[int]:
    """Return sizes or places as plain integers."""
    return [int(value) for value in values.reshape(-1)]


def axis_of(value: int, rank: int) -> int:
    """Return an axis counted from the front."""
    if not -rank <= value < rank:
        raise ValueError(f"axis {value} of {rank}")
    return value % rank


def made(shape: Sequence[int], like: Sized | str, work: int = 0, scratch: int = 0) -> Made:
    """Return one output without values."""
    dtype = like if isinstance(like, str) else like.dtype
    return Made((Sized(tuple(shape), dtype),), work, scratch)


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape that tensors of several have together."""
    rank = max(map(len, shapes))
    filled = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    sizes = []
    for column in zip(*filled, strict=True):
        wide = {size for size in column if size != 1}
        if len(wide) > 1:
            raise ValueError(f"sizes {sorted(wide)[:2]} together")
        sizes.append(wide.pop() if wide else 1)
    return tuple(sizes)


def elementwise(compute: Callable[..., Array] | None = None, dtype: str = "") -> Rule:
    """Return the rule of an operator on elements, which `compute` does for small integers."""

    def rule(node: Node, given: Given) -> Made:
        inputs = [value for value in given if value is not None]
        shape = broadcast([value.shape for value in inputs])
        kind = dtype or inputs[-1].dtype
        values = None
        if compute and math.prod(shape) <= KNOWN_ELEMENTS and all(item.values is not None for item in inputs):
            with np.errstate(all="ignore"):
                values = compute(*(item.values for item in inputs)).astype(kind)
        return Made((Sized(shape, kind, values),), math.prod(shape))

    return rule


def divided(first: Array, second: Array) -> Array:
    """Divide as ONNX does: integers toward zero."""
    if first.dtype.kind == "f":
        return np.asarray(first / second)
    if not second.all():
        raise ValueError("a division by zero")
    return np.asarray(np.trunc(first / second))


def same(node: Node, given: Given) -> Made:
    """The first input's shape for the first output, and for the others at most: norms, sums, activations."""
    source = first(given)
    outputs = tuple(Sized(source.shape, source.dtype) for _ in node.outputs)
    return Made(outputs, 10 * source.elements)


def identity(node: Node, given: Given) -> Made:
    """Return the input."""
    return Made((first(given),))


def cast(node: Node, given: Given) -> Made:
    """Return elements of another type."""
    source, dtype = first(given), DTYPES.get(node.attributes.get("to", 0), "")
    if not dtype:
        raise ValueError(f"a cast to type {node.attributes.get('to')}")
    with np.errstate(all="ignore"):
        values = None if source.values is None else source.values.astype(dtype)
    return Made((Sized(source.shape, dtype, values),), source.elements)


def constant(node: Node, given: Given) -> Made:
    """Return what an attribute holds."""
    if len(node.attributes) != 1:
        raise ValueError("a constant without one value")
    ((name, value),) = node.attributes.items()
    if isinstance(value, Tensor):
        return Made((Sized(value.shape, value.dtype, value.values),))
    values = np.array(value, "int64" if "int" in name else "float32")
    return Made((Sized(values.shape, str(values.dtype), values),))


def shape_of(node: Node, given: Given) -> Made:
    """Return the sizes of a tensor, or some."""
    sizes = first(given).shape[node.attributes.get("start", 0) : node.attributes.get("end")]
    return Made((Sized((len(sizes),), "int64", np.array(sizes, "int64")),))


def size_of(node: Node, given: Given) -> Made:
    """Return the number of elements."""
    return Made((Sized((), "int64", np.array(first(given).elements)),))


def ranged(node: Node, given: Given) -> Made:
    """Return numbers from a start to a limit."""
    start, limit, step = (known(given, place).reshape(()) for place in range(3))
    count = max(0, math.ceil((limit - start) / step)) if step else -1
    if not 0 <= count <= 1 << 31:
        raise ValueError("a range without end")
    kind = first(given).dtype
    values = start + step * np.arange(count) if count <= KNOWN_ELEMENTS else None
    return Made((Sized((count,), kind, None if values is None else values.astype(kind)),), count)


def matmul(node: Node, given: Given) -> Made:
    """Return a product of matrices, or of many."""
    left, right = first(given), first(given, 1)
    if len(left.shape) < 2 or len(right.shape) < 2 or left.shape[-1] != right.shape[-2]:
        raise ValueError(f"a product of {list(left.shape)} and {list(right.shape)}")
    outer = broadcast([left.shape[:-2], right.shape[:-2]]) if left.shape[:-2] or right.shape[:-2] else ()
    shape = (*outer, left.shape[-2], right.shape[-1])
    return made(shape, left, math.prod(shape) * left.shape[-1])


def gemm(node: Node, given: Given) -> Made:
    """Return a product of two matrices, each as it is or transposed."""
    left, right = first(given), first(given, 1)
    rows, inner = left.shape[::-1] if node.attributes.get("transA") else left.shape
    columns = right.shape[0 if node.attributes.get("transB") else 1]
    return made((rows, columns), left, rows * columns * inner)


def attention(node: Node, given: Given) -> Made:
    """Queries, keys, values [B, S, heads x width] or [B, heads, S, width]; the scores are held meanwhile."""
    query, key, value = first(given), first(given, 1), first(given, 2)
    told = node.attributes
    heads = told.get("num_heads", told.get("q_num_heads", query.shape[1] if len(query.shape) == 4 else 1))
    if not 1 <= heads <= 1 << 16:
        raise ValueError(f"{heads} heads of attention")
    groups = max(1, told.get("kv_num_heads", heads))
    last = value.shape[-1] if len(query.shape) == 4 else value.shape[-1] // groups * heads
    scores = query.shape[0] * heads * query.shape[-2] * key.shape[-2]
    work = scores * (query.shape[-1] + value.shape[-1])
    shape = (*query.shape[:-1], last)
    return made(shape, query, work, 4 * scores)


def pointwise_half(node: Node, given: Given) -> Made:
    """The gated GELU: half as wide as its input."""
    source = first(given)
    return made((*source.shape[:-1], source.shape[-1] // 2), source, 20 * source.elements)


def reduced(node: Node, given: Given) -> Made:
    """Return one element in the place of an axis or more."""
    source = first(given)
    rank, told = len(source.shape), node.attributes
    axes = told.get("axes")
    if axes is None:
        axes = whole(known(given, 1, np.array([], "int64")))
    if node.op == "ArgMax":
        axes = [told.get("axis", 0)]
    chosen = {axis_of(axis, rank) for axis in axes}
    if not chosen and not told.get("noop_with_empty_axes"):
        chosen = set(range(rank))
    keep = told.get("keepdims", 1)
    sizes = [(1 if axis in chosen else size) for axis, size in enumerate(source.shape)]
    shape = [size for axis, size in enumerate(sizes) if keep or axis not in chosen]
    return made(shape, "int64" if node.op == "ArgMax" else source, source.elements)


def scalar_values(source: Sized, change: Callable[[Array], Array], shape: Sequence[int]) -> Made:
    """Return an output of another form, and its values where the source's are known."""
    values = None if source.values is None else np.asarray(change(source.values))
    return Made((Sized(tuple(shape), source.dtype, values),), source.elements)
