"""An ONNX model as our own reader has it: nodes, tensors and where their bytes lie.

The schema (onnx.proto3 of ONNX 1.23) lacks what no graph of ours has, and what is not in it is refused:
graphs within graphs, functions, training, sparse tensors, annotations of quantization, strings, distribution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seas_runtime.bundle.graphs.wire import (
    BYTES,
    ENUM,
    FLOAT,
    INT,
    PACKED,
    PACKED_4,
    PACKED_8,
    TEXT,
    Field,
    Message,
    Reader,
    Schema,
)

_MANY_TEXTS, _ENTRIES = Field(TEXT, True), Field("Entry", True)
_SCHEMA: Schema = {
    "Model": {
        **{1: Field(INT), 5: Field(INT), 7: Field("Graph"), 8: Field("OperatorSet", True), 14: _ENTRIES},
        **dict.fromkeys((2, 3, 4, 6), Field(TEXT)),
    },
    "OperatorSet": {1: Field(TEXT), 2: Field(INT)},
    "Entry": {1: Field(TEXT), 2: Field(TEXT)},
    "Graph": {
        **{1: Field("Node", True), 2: Field(TEXT), 5: Field("Tensor", True), 10: Field(TEXT)},
        **dict.fromkeys((11, 12, 13), Field("Value", True)),
        16: _ENTRIES,
    },
    "Node": {
        **{1: _MANY_TEXTS, 2: _MANY_TEXTS, 5: Field("Attribute", True), 9: _ENTRIES},
        **dict.fromkeys((3, 4, 6, 7), Field(TEXT)),
    },
    "Attribute": {
        **{1: Field(TEXT), 2: Field(FLOAT), 3: Field(INT), 4: Field(BYTES), 5: Field("Tensor")},
        **{7: Field(FLOAT, True), 8: Field(INT, True), 13: Field(TEXT), 20: Field(ENUM)},
    },
    "Value": {1: Field(TEXT), 2: Field("Type"), 3: Field(TEXT), 4: _ENTRIES},
    "Type": {1: Field("TensorType"), 6: Field(TEXT)},
    "TensorType": {1: Field(ENUM), 2: Field("Shape")},
    "Shape": {1: Field("Dimension", True)},
    "Dimension": {1: Field(INT), 2: Field(TEXT), 3: Field(TEXT)},
    "Tensor": {
        **{1: Field(INT, True), 2: Field(ENUM), 4: Field(PACKED_4), 5: Field(PACKED), 7: Field(PACKED)},
        **{8: Field(TEXT), 9: Field(BYTES), 10: Field(PACKED_8), 12: Field(TEXT), 13: _ENTRIES},
        **{14: Field(ENUM), 16: _ENTRIES},
    },
}
DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
"""ONNX's numbers of types that our graphs have, as numpy calls them."""
_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS = 1, 2, 3, 4, 6, 7
_ATTRIBUTE_FIELDS = {_FLOAT: 2, _INT: 3, _STRING: 4, _TENSOR: 5, _FLOATS: 7, _INTS: 8}
_PACKED_TYPES = {4: (1,), 5: (2, 3, 6, 9, 10), 7: (7,), 10: (11,)}  # field of values -> types it is for
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,17}")
_MOST_DIMENSIONS, _LARGEST = 8, 1 << 48
KNOWN_ELEMENTS = 4096
"""Of constants up to this number of elements values are read: shapes are computed of them."""


@dataclass(frozen=True)
class External:
    """Bytes of a tensor in another file: its name, as written, and where in it."""

    location: str
    offset: int
    length: int


@dataclass(frozen=True)
class Tensor:
    """A constant: type and shape, and either its file or, of a small one, its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    external: External | None
    values: np.ndarray[Any, Any] | None

    @property
    def size(self) -> int:
        """Its bytes."""
        return _elements(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Node:
    """An operator with the names of what it reads and writes; an attribute is a value or a Tensor."""

    domain: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """An input or output: name, type and shape; a text where a size is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Model:
    """A graph that was read."""

    domains: Mapping[str, int]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def read_model(data: bytes) -> Model:
    """Read an ONNX file; ValueError, saying what was found, if it is none such as our export writes."""
    if not data:
        raise ValueError("an empty file")
    message = Reader(data, _SCHEMA, frozenset({"Type"})).read("Model")
    if not 3 <= message.get(1, 0) <= 64 or 7 not in message:
        raise ValueError("a model without its version or its graph")
    graph: Message = message[7]
    domains = _named(
        ((entry.get(1, ""), entry.get(2, 0)) for entry in message.get(8, ())), "operator sets of"
    )
    tensors = [_tensor(entry, data) for entry in graph.get(5, ())]
    return Model(
        domains,
        tuple(_node(entry, data) for entry in graph.get(1, ())),
        _named(((tensor.name, tensor) for tensor in tensors), "constants called"),
        tuple(map(_value, graph.get(11, ()))),
        tuple(map(_value, graph.get(12, ()))),
    )


def _node(message: Message, data: bytes) -> Node:
    attributes = ((entry.get(1, ""), _attribute(entry, data)) for entry in message.get(5, ()))
    return Node(
        message.get(7, ""),
        message.get(4, ""),
        tuple(message.get(1, ())),
        tuple(message.get(2, ())),
        _named(attributes, "attributes called"),
    )


def _attribute(message: Message, data: bytes) -> Any:
    """Return the one value that an attribute has, which must be of the type that it says."""
    kind = message.get(20, 0)
    field = _ATTRIBUTE_FIELDS.get(kind)
    values = message.keys() - {1, 13, 20}
    many = kind in (_FLOATS, _INTS)
    if field is None or not (values == {field} or (many and not values)):
        raise ValueError(f"the attribute {message.get(1, '')[:40]!r}, which is not one value of type {kind}")
    value = message.get(field, [])
    if kind == _STRING:
        return data[value[0] : value[1]][:64]
    if kind == _TENSOR:
        tensor = _tensor(value, data)
        if tensor.external is not None:
            raise ValueError("an attribute that keeps its values in another file")
        return tensor
    if kind in (_FLOAT, _FLOATS):
        spans = value if many else [value]
        floats = [float(np.frombuffer(data[start:stop], "<f4")[0]) for start, stop in spans]
        return floats if many else floats[0]
    return value


def _tensor(message: Message, data: bytes) -> Tensor:
    name, shape = message.get(8, ""), tuple(message.get(1, ()))
    dtype = DTYPES.get(message.get(2, 0))
    if dtype is None:
        raise ValueError(f"the constant {name[:40]!r} of type {message.get(2, 0)}")
    count = _elements(shape)
    size = count * np.dtype(dtype).itemsize
    held = message.keys() & {4, 5, 7, 9, 10}
    if 13 in message or message.get(14, 0):
        if held or message.get(14) != 1 or 13 not in message:
            raise ValueError(f"the constant {name[:40]!r} both in the graph and in another file")
        external = _external(message[13], size)
        if external.offset % np.dtype(dtype).itemsize:
            raise ValueError(f"weights from byte {external.offset} for numbers of {dtype}")
        return Tensor(name, dtype, shape, external, None)
    if len(held) > 1 or (not held and size):
        raise ValueError(f"the constant {name[:40]!r}, whose values are not in one place")
    return Tensor(name, dtype, shape, None, _values(message, data, dtype, shape, size))


def _values(message: Message, data: bytes, dtype: str, shape: tuple[int, ...], size: int) -> Any:
    """Return the values of a small constant, None of a large one; the bytes must be as many as it has."""
    kind = message.get(2, 0)
    for field, kinds in _PACKED_TYPES.items():
        if field not in message:
            continue
        held = message[field]
        count = len(held) if isinstance(held, list) else (held[1] - held[0]) // (4 if field == 4 else 8)
        if kind not in kinds or count != _elements(shape):
            raise ValueError(f"{count} values of field {field} in a constant of {_elements(shape)} {dtype}")
        if kind == 10 or count > KNOWN_ELEMENTS:
            return None
        if isinstance(held, list):
            return np.array(held, "int64").astype(dtype).reshape(shape)
        return np.frombuffer(data[held[0] : held[1]], dtype).reshape(shape)
    start, stop = message.get(9, (0, 0))
    if stop - start != size:
        raise ValueError(f"a constant of {size} bytes in {stop - start}")
    if _elements(shape) > KNOWN_ELEMENTS:
        return None
    return np.frombuffer(data[start:stop], np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _external(entries: list[Message], size: int) -> External:
    """Return where a tensor's bytes lie: a location, and an offset and length in plain decimals."""
    told = _named(((entry.get(1, ""), entry.get(2, "")) for entry in entries), "entries called")
    if not {"location"} <= told.keys() <= {"location", "offset", "length"}:
        raise ValueError(f"weights with the entries {', '.join(map(repr, sorted(told)))[:80]}")
    if not all(_DECIMAL.fullmatch(told.get(key, "0")) for key in ("offset", "length")):
        raise ValueError("weights whose offset or length is no plain number")
    external = External(told["location"], int(told.get("offset", "0")), int(told.get("length", size)))
    if external.length != size:
        raise ValueError(f"weights of {external.length} bytes for a constant of {size}")
    return external


def _value(message: Message) -> Value:
    kind = message.get(2, {}).get(1, {})
    dtype = DTYPES.get(kind.get(1, 0))
    if dtype is None or 2 not in kind:
        raise ValueError(f"{message.get(1, '')[:40]!r} without a type or a shape that we know")
    sizes = kind[2].get(1, ())
    if any(1 in entry and 2 in entry for entry in sizes):
        raise ValueError(f"{message.get(1, '')[:40]!r}, with two sizes for one dimension")
    shape = tuple(entry.get(1, entry.get(2, "?")) for entry in sizes)
    return Value(message.get(1, ""), dtype, shape)


def _elements(shape: tuple[int, ...]) -> int:
    """Return the number of elements; ValueError for sizes that no tensor of ours has."""
    count = 1
    for size in shape:
        if not 0 <= size <= _LARGEST or len(shape) > _MOST_DIMENSIONS:
            raise ValueError(f"a constant of shape {list(shape)[:9]}")
        count *= size
    if count > _LARGEST:
        raise ValueError(f"a constant of shape {list(shape)}")
    return count


def _named(pairs: Any, what: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"two {what} {name[:40]!r}")
        found[name] = value
    return found
