"""Where an ONNX graph keeps its weights: the files that it names may not leave the bundle either.

Read from the protobuf wire format directly, because the runtime has no need for the onnx package otherwise.
"""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import os_errors
from seas_runtime.manifest.fields import describe
from seas_runtime.manifest.types import Manifest

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONG = 0x80  # a byte from here on is not the last of its integer
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_ENTRY = "StringStringEntryProto"
_MESSAGES = {  # onnx.proto: message -> field number -> the message in it; what holds no tensor is left out
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: _ENTRY},
}
_KEY, _VALUE = 1, 2  # fields of a StringStringEntryProto
_LOCATION = b"location"
_SMALL = 16 << 20  # bytes: read at once, a graph is walked faster than mapped

Data = bytes | mmap.mmap


def check_external_data(path: Path, manifest: Manifest) -> None:
    """Refuse graphs of the bundle in folder `path` whose weights are not in files that the manifest lists.

    Raises UserError naming the graph, also for a file that is no ONNX graph.
    """
    for graph in manifest.graphs.values():
        file = path / graph.file
        try:
            locations = sorted(external_locations(file))
        except ValueError as error:
            raise UserError(
                f"{file}: expected an ONNX graph, found {error}; export the bundle again"
            ) from None
        for location in locations:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(graph.file), location))
            if location.startswith("/") or target not in manifest.files:
                raise UserError(
                    f"{file}: the path {describe(location)} of its weights is refused: expected a file "
                    "that the manifest lists; export the bundle again"
                )


def external_locations(file: Path) -> frozenset[str]:
    """Return the files, as written, in which a graph keeps weights; ValueError if `file` is no ONNX graph.

    A file that has not changed since it was last asked for is not walked again.
    """
    with os_errors(file, "read"):
        found = file.stat()
        return _walked(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=32)
def _walked(file: Path, size: int, modified: int) -> frozenset[str]:
    del modified  # tells one content of a file from another
    if size == 0:
        raise ValueError("an empty file")
    with file.open("rb") as opened:
        if size <= _SMALL:
            return frozenset(_locations(opened.read()))
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return frozenset(_locations(data))


def _locations(data: Data) -> Iterator[str]:
    pending = [("ModelProto", 0, len(data))]
    while pending:
        message, begin, end = pending.pop()
        if message == _ENTRY:
            yield from _location(data, begin, end)
            continue
        inner = _MESSAGES[message]
        for number, start, stop in _length_delimited(data, begin, end):
            # Strings lie in a file as they are: what lacks the word, nodes above all, needs no walk.
            if number in inner and data.find(_LOCATION, start, stop) >= 0:
                pending.append((inner[number], start, stop))


def _location(data: Data, begin: int, end: int) -> Iterator[str]:
    """Yield an entry's value if its key is `location`."""
    entry = {number: data[start:stop] for number, start, stop in _length_delimited(data, begin, end)}
    if entry.get(_KEY) == _LOCATION:
        yield entry.get(_VALUE, b"").decode("utf-8")


def _length_delimited(data: Data, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, stop) of the strings, bytes and messages between `begin` and `end`."""
    position = begin
    while position < end:
        # Most integers are of one byte, and a large graph has a hundred thousand.
        tag = data[position]
        if tag < _LONG:
            position += 1
        else:
            tag, position = _varint(data, position, end)
        kind = tag & 7
        if kind == _BYTES:
            if position < end and data[position] < _LONG:
                start = position + 1
                position = start + data[position]
            else:
                size, start = _varint(data, position, end)
                position = start + size
            if position <= end:
                yield tag >> 3, start, position
        elif kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        else:
            raise ValueError(f"a protobuf field of unknown type {kind}")
        if position > end:
            raise ValueError("a protobuf field that runs past its end")


def _varint(data: Data, position: int, end: int) -> tuple[int, int]:
    """Return a variable-length integer and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _LONG:
            return value, position
    raise ValueError("a protobuf integer that does not end")
