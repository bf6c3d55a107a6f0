"""Reads a graph into OpenVINO from memory: it opens no file, and so none that was not compared.

Weights stay in their mapped files. OpenVINO's ONNX reader takes them by address, under a location that ONNX
Runtime's provider for OpenVINO uses for the same. No file can bring such a location along: the check refuses
every one that is no name of a listed file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seas_runtime.bundle.content import GraphContent

_ADDRESS = b"*/_ORT_MEM_ADDR_/*"
# Fields of onnx.proto, as tags: a model's graph, a graph's constants, and of those name and files' entries.
_GRAPH, _TENSOR, _NAME, _ENTRY = 7 << 3 | 2, 5 << 3 | 2, 8 << 3 | 2, 13 << 3 | 2


def read_model(core: Any, content: GraphContent) -> Any:
    """Return OpenVINO's model of a graph; raises what OpenVINO raises."""
    return core.read_model(io.BytesIO(_with_addresses(content)))


def _with_addresses(content: GraphContent) -> bytes:
    """Return the ONNX model with the addresses of its weights in the place of their files."""
    if not content.tensors:
        return content.data
    addresses = {
        name.encode(): (array.__array_interface__["data"][0], array.nbytes)
        for name, array in content.weights.items()
    }
    made = bytearray()
    for tag, field, value in _fields(content.data):
        made += _delimited(tag, _graph(value, addresses)) if tag == _GRAPH else field
    return bytes(made)


def _graph(data: bytes, addresses: dict[bytes, tuple[int, int]]) -> bytes:
    made = bytearray()
    for tag, field, value in _fields(data):
        parts = list(_fields(value)) if tag == _TENSOR else []
        name = next((part for number, _, part in parts if number == _NAME), b"")
        if name in addresses:
            made += _delimited(tag, _tensor(parts, *addresses[name]))
        else:
            made += field
    return bytes(made)


def _tensor(parts: list[tuple[int, bytes, bytes]], address: int, size: int) -> bytes:
    """Return a constant whose entries, which follow one another, are those of an address."""
    told = {b"location": _ADDRESS, b"offset": str(address).encode(), b"length": str(size).encode()}
    entries = b"".join(
        _delimited(_ENTRY, _delimited(1 << 3 | 2, key) + _delimited(2 << 3 | 2, value))
        for key, value in told.items()
    )
    before = b"".join(field for tag, field, _ in parts if tag >> 3 < _ENTRY >> 3)
    return before + entries + b"".join(field for tag, field, _ in parts if tag >> 3 > _ENTRY >> 3)


def _fields(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield tag, whole field, and content where it is delimited, of a message that was checked."""
    position = 0
    while position < len(data):
        begin = position
        tag, position = _varint(data, position)
        value, position = _varint(data, position)  # those three messages have integers and delimited fields
        content = b""
        if tag & 7 == 2:
            content, position = data[position : position + value], position + value
        yield tag, data[begin:position], content


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _delimited(tag: int, content: bytes) -> bytes:
    return _encoded(tag) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
