"""Writes a data set as shards of a store: many writers, each pair once."""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from seas_runtime.dataset.folder import DatasetRequest, check_continues, check_description, describe_dataset
from seas_runtime.dataset.shards.contents import SCHEMA, ShardSink, Written
from seas_runtime.dataset.shards.names import (
    ABOUT_NAME,
    KINDS,
    RUNS,
    SHARDS,
    TAR,
    Part,
    Range,
    missing,
    parse,
)
from seas_runtime.dataset.shards.store import Store
from seas_runtime.errors import UserError
from seas_runtime.files import json_bytes, parse_json
from seas_runtime.generation.records import MAX_COUNT
from seas_runtime.manifest.fields import Fields, check_integer
from seas_runtime.methods.request import PairRequest
from seas_runtime.spreading.contract import PairSource, Parcel
from seas_runtime.spreading.delivery import deliver
from seas_runtime.spreading.pool import Pool
from seas_runtime.spreading.worker import versions

SHARD_PAIRS = 256
"""Of 512 x 512 pixels some 100 MB: large enough for an object store, small enough to be made again."""


@dataclass(frozen=True)
class ShardOptions:
    """How shards are written. Raises UserError for what cannot be."""

    kind: str = TAR
    """`tar` for WebDataset's, `files` for pictures where a data set has them."""
    pairs: int = SHARD_PAIRS
    """Of a shard; made whole batches."""
    part: Part = field(default_factory=Part)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"--shards: expected one of {', '.join(KINDS)}, found {self.kind!r}")
        check_integer("--shard-pairs", self.pairs, 1, MAX_COUNT)


@dataclass(frozen=True)
class ShardsSummary:
    """What a run wrote, and what was there."""

    url: str
    shards: int
    pairs: int
    accepted: int
    continued: int
    """Pairs of shards that were there already."""
    left: int
    """Pairs that other parts are to make."""
    bytes: int
    seconds_per_pair: float

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class StoreNeeded:
    """The store as every worker needs it: machines may have other credentials, or none."""

    url: str

    def check(self) -> None:
        """Look into it; UserError where it does not let this machine in, or is not reached."""
        Store(self.url).exists(ABOUT_NAME)


def write_shards(
    source: PairSource,
    request: DatasetRequest,
    url: str,
    options: ShardOptions,
    progress: Callable[[int, int], None] | None = None,
) -> ShardsSummary:
    """Generate what `request` asks into shards below a URL, but for those that are there.

    A shard is there whole, under a name that tells its content, or not at all: what two writers make of the
    same pairs is one object. Run again after it was killed, or with a larger count, it makes what is missing.
    Raises UserError for options that do not fit the bundle, a store that cannot be reached, and one that
    holds another data set.
    """
    request = request.resolve(source)
    if request.oversample > 1:
        raise UserError(
            "--oversample: the best pairs are chosen when all are made, and shards are never changed; leave "
            "it out, or write into a folder"
        )
    store = Store(url)
    store.exists(ABOUT_NAME)  # lets us in, or says why not, before workers start
    if isinstance(source, Pool):
        source.must_reach(StoreNeeded(url))
    description = describe_dataset(source, request)
    options = _agree(store, source, description, request.batch, options)
    there = [shard.range for shard in parse(store.names(SHARDS))]
    ranges = [
        item for defect in request.defects for item in missing(defect, request.count, options.pairs, there)
    ]
    total = request.count * len(request.defects)
    mine = [item for item in ranges if options.part.has(item, options.pairs)]
    done = continued = total - sum(item.end - item.start for item in ranges)
    written: list[Written] = []
    run = _Run(store, source)
    if progress is not None:
        progress(done, total)
    for one in deliver(source, _parcels(request, url, options.kind, mine)):
        written.append(one)
        done += one.shard.range.end - one.shard.range.start
        if progress is not None:
            progress(done, total)
    if written:
        run.note(written)
    pairs = sum(item.end - item.start for item in mine)
    seconds = sum(one.seconds for one in written)
    return ShardsSummary(
        url=store.url,
        shards=len(written),
        pairs=total,
        accepted=sum(one.accepted for one in written),
        continued=continued,
        left=total - done,
        bytes=sum(one.size for one in written),
        seconds_per_pair=seconds / pairs if pairs else 0.0,
    )


def _parcels(request: DatasetRequest, url: str, kind: str, ranges: Sequence[Range]) -> Iterator[Parcel]:
    requests = {defect: request.of(defect) for defect in request.defects}
    for item in ranges:
        firsts = range(item.start - item.start % request.batch, item.end, request.batch)
        batches = [
            [
                PairRequest(requests[item.defect], index)
                for index in range(first, min(first + request.batch, request.count))
            ]
            for first in firsts
        ]
        yield Parcel(batches, ShardSink(url, item, kind))


def _agree(
    store: Store, source: PairSource, description: dict[str, Any], batch: int, options: ShardOptions
) -> ShardOptions:
    """Begin the store's description, or continue what it says; return the options that hold."""
    pairs = -(-options.pairs // batch) * batch
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": options.kind,
        "shard_pairs": pairs,
        "dataset": description,
        "preprocessing": dict(source.manifest.preprocessing),
    }
    if store.exists(ABOUT_NAME):
        before = read_about(store)
        check_continues(store.url, before["dataset"], description, "choose another --out")
        if before["kind"] != options.kind:
            raise UserError(
                f"{store.url}: holds shards of another kind: expected {options.kind}, found "
                f"{before['kind']}; give --shards {before['kind']}, or choose another --out"
            )
        about = {**about, "shard_pairs": before["shard_pairs"], "dataset": _larger(before, description)}
        if about == before:
            return ShardOptions(options.kind, before["shard_pairs"], options.part)
    elif found := store.names(""):
        raise UserError(
            f"{store.url}: expected nothing, or shards of ours, found other files, such as "
            f"{min(found)}; choose another --out"
        )
    store.put(ABOUT_NAME, json_bytes(about))
    return ShardOptions(options.kind, int(about["shard_pairs"]), options.part)


def _larger(before: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description with the larger count: pairs that are there stay."""
    return {**description, "count": max(before["dataset"]["count"], description["count"])}


def read_about(store: Store) -> dict[str, Any]:
    """Return what `shards.json` says; UserError where it is none of ours."""
    where = f"{store.url}/{ABOUT_NAME}"
    value: dict[str, Any] = parse_json(store.get(ABOUT_NAME), f"{where}: description of shards")
    fields = Fields(value, where)
    fields.integer("schema", SCHEMA, SCHEMA)
    fields.integer("shard_pairs", 1, 2 * MAX_COUNT)
    check_description(value.get("dataset"), f"{where}: dataset")
    if value.get("kind") not in KINDS:
        raise UserError(
            f"{where}: expected a description of shards, found another file; choose another --out"
        )
    return value


class _Run:
    """What is kept of a run: who made which shards, with what."""

    def __init__(self, store: Store, source: PairSource) -> None:
        self._store, self._source, self._begun = store, source, time.time()

    def note(self, written: Sequence[Written]) -> None:
        """Write `runs/TIME-HOST-RANDOM.json`."""
        begun = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._begun))
        source = self._source
        workers = (
            [asdict(one) for one in source.start()]
            if isinstance(source, Pool)
            else [{"host": platform.node(), "process": os.getpid(), "backend": source.describe_backend()}]
        )
        value = {
            "schema": SCHEMA,
            "begun": begun,
            "seconds": round(time.time() - self._begun, 3),
            "bundle": source.bundle.fingerprint,
            "versions": versions(),
            "workers": workers,
            "shards": [
                {"name": one.shard.name, "bytes": one.size, "accepted": one.accepted} for one in written
            ],
        }
        host = "".join(letter if letter.isalnum() else "-" for letter in platform.node())[:40] or "host"
        self._store.put(f"{RUNS}/{begun}-{host}-{secrets.token_hex(3)}.json", json_bytes(value))
