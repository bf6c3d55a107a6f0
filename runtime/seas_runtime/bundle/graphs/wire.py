"""Reads protobuf messages, and refuses every encoding but the one that writers make.

Parsers are lenient, each in its own way: they cut integers, skip what they do not know, let the last of two
values win. A check that reads a file otherwise than the library that loads it checks another file. So here a
message has one encoding: fields in their order, known ones alone, once where they are single, integers
without needless bytes, no groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INT, ENUM, TEXT, BYTES, FLOAT = "integer", "enumeration", "text", "bytes", "float"
PACKED, PACKED_4, PACKED_8 = "integers", "numbers of four bytes", "numbers of eight bytes"
FIELD_LIMIT = 2_000_000
"""Fields of one file. A step of Stable Diffusion 1.x has some hundred thousand."""
PACKED_LIMIT = 1 << 16
"""Bytes of integers in one field: constants of shapes."""
_VARINT, _DELIMITED, _FIXED32 = 0, 2, 5
_WIRE = {INT: _VARINT, ENUM: _VARINT, FLOAT: _FIXED32}  # all others are delimited
_LONG = 0x80  # a byte from here on is not the last of its integer
_MAX_VARINT = 10

Span = tuple[int, int]
"""First byte of a field's content, and the one after its last."""
Message = dict[int, Any]
"""Values by field number: a list where a field repeats."""


@dataclass(frozen=True)
class Field:
    """One field: its kind, or the name of the message that it holds, and whether it repeats."""

    kind: str
    many: bool = False


Schema = dict[str, dict[int, Field]]
"""Fields that are known, by message and number."""


class Reader:
    """Reads one file's messages by a schema; ValueError for what is not as `wire` says.

    Messages called `repeated`, of which a file has many alike and which hold no places, are read once each.
    """

    def __init__(self, data: bytes, schema: Schema, repeated: frozenset[str] = frozenset()) -> None:
        self._data, self._left, self._repeated = data, FIELD_LIMIT, repeated
        self._known: dict[tuple[str, bytes], Message] = {}
        # What a field's tag, one integer, means: known tags alone are taken.
        self._tags = {
            message: {
                number << 3 | _WIRE.get(field.kind, _DELIMITED): (number, field.kind, field.many)
                for number, field in fields.items()
            }
            for message, fields in schema.items()
        }

    def read(self, message: str) -> Message:
        """Read the whole file as one message."""
        return self._message(message, 0, len(self._data))

    def _message(self, message: str, position: int, end: int) -> Message:
        """Return the fields between two places; the schema has no circle, so the depth has an end."""
        data, tags = self._data, self._tags[message]
        found: Message = {}
        last = 0
        while position < end:
            tag = data[position]
            position += 1
            if tag >= _LONG:
                tag, position = self._varint(position - 1, end)
            known = tags.get(tag)
            if known is None:
                raise ValueError(f"field {tag >> 3} of type {tag & 7} in {message}, which has no such field")
            number, kind, many = known
            if number < last:
                raise ValueError(f"field {number} of {message} out of its order")
            if number == last and not many:
                raise ValueError(f"field {number} of {message} twice")
            last = number
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {FIELD_LIMIT} protobuf fields")
            value: Any
            if kind is INT or kind is ENUM:
                value, position = self._varint(position, end)
                if kind is ENUM and value >= 1 << 31:
                    raise ValueError(f"{value} in field {number} of {message}, which has 32 bits")
                if value >= 1 << 63:
                    value -= 1 << 64
            elif kind is FLOAT:
                value, position = (position, position + 4), position + 4
            else:
                size, start = self._varint(position, end)
                position = start + size
                if position > end:
                    raise ValueError("a protobuf field that runs past its end")
                value = self._content(kind, start, position)
            if position > end:
                raise ValueError("a protobuf field that runs past its end")
            if many:
                found.setdefault(number, []).append(value)
            else:
                found[number] = value
        return found

    def _content(self, kind: str, start: int, stop: int) -> Any:
        """Return what a delimited field holds: text, a place, integers, or a message."""
        if kind is TEXT:
            return self._data[start:stop].decode("utf-8")
        if kind is BYTES:
            return start, stop
        if kind is PACKED:
            return self._packed(start, stop)
        if kind is PACKED_4 or kind is PACKED_8:
            if (stop - start) % (4 if kind is PACKED_4 else 8):
                raise ValueError(f"{kind} in {stop - start} bytes")
            return start, stop
        if kind not in self._repeated:
            return self._message(kind, start, stop)
        key = kind, self._data[start:stop]
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._message(kind, start, stop)
        return found

    def _packed(self, position: int, end: int) -> list[int]:
        if end - position > PACKED_LIMIT:
            raise ValueError(f"integers in {end - position} bytes: expected at most {PACKED_LIMIT}")
        values = []
        while position < end:
            value, position = self._varint(position, end)
            values.append(value - (1 << 64) if value >= 1 << 63 else value)
        return values

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """Return an integer of at most 64 bits, in as few bytes as it needs, and the place after it."""
        data = self._data
        if position < end and data[position] < _LONG:
            return data[position], position + 1
        value = shift = 0
        for place in range(position, min(end, position + _MAX_VARINT)):
            byte = data[place]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < _LONG:
                if byte == 0 or value >= 1 << 64:
                    raise ValueError("a protobuf integer in more bytes than it needs")
                return value, place + 1
        raise ValueError("a protobuf integer that does not end")
