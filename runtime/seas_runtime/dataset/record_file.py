"""`records.jsonl`: a line per pair, in whole batches however the writer ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import append_bytes, atomic_write_bytes, os_errors, parse_json

Key = tuple[str, int]
"""Defect and index of a pair."""


class RecordFile:
    """The lines of a dataset's `records.jsonl`, kept as they are in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Key, bytes] = {}

    def load(self) -> None:
        """Read the lines that are whole; what a killed writer left of its last one is skipped."""
        self.lines = {}
        if not self.path.exists():
            return
        with os_errors(self.path, "read"):
            data = self.path.read_bytes()
        for line in data.split(b"\n"):
            record = parse_record(line)
            if record is not None:
                self.lines[record["defect"], record["index"]] = line

    def record(self, key: Key) -> dict[str, Any] | None:
        """Return a pair's record, or None."""
        line = self.lines.get(key)
        record: dict[str, Any] | None = None if line is None else json.loads(line)
        return record

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records, in the order of the lines."""
        for line in self.lines.values():
            yield json.loads(line)

    def append(self, records: Sequence[dict[str, Any]]) -> None:
        """Add records to the file, all of them or, with a UserError, none."""
        lines = [json.dumps(record, ensure_ascii=False, allow_nan=False).encode() for record in records]
        append_bytes(self.path, b"".join(line + b"\n" for line in lines))
        for record, line in zip(records, lines, strict=True):
            self.lines[(record["defect"], record["index"])] = line

    def change(self, key: Key, **values: Any) -> None:
        """Change a pair's record, taking out what is None; `keep` brings the file up to date."""
        record = {**json.loads(self.lines[key]), **values}
        record = {
            name: value
            for name, value in record.items()
            if value is not None or name == "files" or name not in values
        }
        self.lines[key] = json.dumps(record, ensure_ascii=False, allow_nan=False).encode()

    def keep(self, keys: Iterable[Key]) -> None:
        """Make the file hold the lines of `keys` and no others, in that order."""
        self.lines = {key: self.lines[key] for key in keys if key in self.lines}
        data = b"".join(line + b"\n" for line in self.lines.values())
        with os_errors(self.path, "read"):
            current = self.path.read_bytes() if self.path.exists() else None
        if data != current:
            atomic_write_bytes(self.path, data)


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return what a line records of a pair, or None if it is no record."""
    try:
        record = parse_json(line, "record")
    except UserError:
        return None
    if not isinstance(record, dict):
        return None
    types = {"defect": str, "index": int, "accepted": bool, "attempts": list, "times": dict}
    if not all(isinstance(record.get(name), kind) for name, kind in types.items()):
        return None
    return record if isinstance(record["times"].get("total"), float) else None
