"""What a shard holds: a tar as WebDataset reads it, with an index, or plain files and a list of records."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime.dataset.layout import pair_paths
from seas_runtime.dataset.shards.names import FILES, TAR, Range, Shard
from seas_runtime.dataset.shards.store import Store
from seas_runtime.files import json_bytes, os_errors, sha256_file
from seas_runtime.spreading.contract import Pair, Place

SCHEMA = 1
REJECTED = "__rejected__"
"""Folder of a tar for records without pictures; WebDataset passes over names like it."""


@dataclass(frozen=True)
class Written:
    """A shard that was written."""

    shard: Shard
    size: int
    """Bytes of its tar, or of its records and pictures."""
    accepted: int
    seconds: float
    """What its pairs took, together."""


@dataclass(frozen=True)
class ShardSink:
    """Writes a range's pairs to a store as a shard, wherever they are made."""

    url: str
    range: Range
    kind: str

    def open(self) -> Place:
        """Begin the shard, in a temporary file or by its first pictures."""
        store = Store(self.url)
        return TarFile(store, self.range) if self.kind == TAR else PlainFiles(store, self.range)


class _Pairs:
    """What both kinds count."""

    def __init__(self, store: Store, held: Range) -> None:
        self.store, self.range = store, held
        self.records: list[dict[str, Any]] = []

    def of_range(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the pairs of the shard's own range."""
        return [pair for pair in pairs if self.range.start <= pair.record.index < self.range.end]

    def record(self, pair: Pair) -> dict[str, Any]:
        """Keep a pair's record, as a data set's `records.jsonl` has it, and return it."""
        record = pair.record
        paths = pair_paths(record.defect, record.index)
        value = {**record.to_dict(), "files": paths if record.accepted else None}
        self.records.append(value)
        return value

    def written(self, shard: Shard, size: int) -> Written:
        """Return what was written."""
        accepted = sum(record["accepted"] for record in self.records)
        return Written(shard, size, accepted, sum(record["times"]["total"] for record in self.records))


class TarFile(_Pairs):
    """A tar: `DEFECT/000000.png`, `.mask.png` and `.json` of each pair, the record without its times.

    The same pairs give the same bytes. Its index has each member's place in it, and the whole records.
    """

    def __init__(self, store: Store, held: Range) -> None:
        super().__init__(store, held)
        self._folder = tempfile.TemporaryDirectory(prefix="seas-shard-")
        self._path = Path(self._folder.name) / "shard.tar"
        with os_errors(self._path):
            self._tar = tarfile.open(self._path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 (lives on)
        self._members: dict[str, list[int]] = {}

    def discard(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):
            self._tar.close()
        self._folder.cleanup()

    def add(self, pairs: Sequence[Pair]) -> None:
        """Add pairs."""
        for pair in self.of_range(pairs):
            record = self.record(pair)
            fixed = json_bytes(without_times(record))
            key = f"{pair.record.defect}/{pair.record.index:06d}"
            if not pair.record.accepted:
                self._member(f"{REJECTED}/{key}.json", fixed)
                continue
            for name in record["files"]:
                self._member(f"{key}{'' if name == 'image' else f'.{name}'}.png", pair.encode(name))
            self._member(f"{key}.json", fixed)

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        with os_errors(self._path):
            self._tar.addfile(info, io.BytesIO(data))
        blocks = -(-len(data) // tarfile.BLOCKSIZE)
        self._members[name] = [self._tar.offset - blocks * tarfile.BLOCKSIZE, len(data)]

    def finish(self) -> Written:
        """Write index, then tar."""
        try:
            with os_errors(self._path):
                self._tar.close()
            digest, size = sha256_file(self._path), self._path.stat().st_size
            shard = Shard(self.range, digest, TAR)
            index = {
                "schema": SCHEMA,
                "tar": shard.name,
                "sha256": digest,
                "size": size,
                "members": self._members,
                "records": self.records,
            }
            self.store.put(shard.index_path, json_bytes(index))
            self.store.send(shard.path, self._path)
        finally:
            self.discard()
        return self.written(shard, size)


class PlainFiles(_Pairs):
    """Pictures where a data set has them, then a list of their records, with which the shard is there."""

    def __init__(self, store: Store, held: Range) -> None:
        super().__init__(store, held)
        self._size = 0

    def discard(self) -> None:
        """Leave pictures that no list names: they are written again, with the same bytes."""

    def add(self, pairs: Sequence[Pair]) -> None:
        """Write pairs."""
        for pair in self.of_range(pairs):
            record = self.record(pair)
            hashes = {}
            for name, path in (record["files"] or {}).items():
                data = pair.encode(name)
                self.store.put(path, data)
                hashes[name] = hashlib.sha256(data).hexdigest()
                self._size += len(data)
            record["sha256"] = hashes

    def finish(self) -> Written:
        """Write the list of records."""
        shard = Shard(self.range, records_digest(self.records), FILES)
        data = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in self.records)
        self.store.put(shard.path, data)
        return self.written(shard, self._size + len(data))


def records_digest(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of records without their times: of what is the same whenever it is made."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(json_bytes(without_times(record)))
    return digest.hexdigest()


def without_times(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without what differs from run to run."""
    return {name: value for name, value in record.items() if name != "times"}
