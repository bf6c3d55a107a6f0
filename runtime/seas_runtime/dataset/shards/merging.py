"""Brings the shards of one or several stores together: one data set, every byte of it verified."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.dataset.contact_sheet import contact_sheet
from seas_runtime.dataset.folder import check_continues
from seas_runtime.dataset.layout import (
    CONTACT_SHEET_NAME,
    DATASET,
    DATASET_NAME,
    RECORDS_NAME,
    is_pair,
    pair_paths,
)
from seas_runtime.dataset.record_file import Key, RecordFile
from seas_runtime.dataset.shards.contents import REJECTED, records_digest, without_times
from seas_runtime.dataset.shards.names import SHARDS, TAR, Range, Shard, missing, parse
from seas_runtime.dataset.shards.store import Store
from seas_runtime.dataset.shards.writing import read_about
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import os_errors, parse_json, sha256_file, write_json
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.checking import check_writable, holds_ours
from seas_runtime.outputs.temporary import temporary_folder
from seas_runtime.photographs.png import encode_picture
from seas_runtime.photographs.values import Values


@dataclass(frozen=True)
class Merged:
    """What was brought together."""

    path: Path
    shards: int
    pairs: int
    accepted: int
    twice: int
    """Pairs that several shards hold, with the same bytes."""
    missing: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class _Held:
    """A pair as a shard holds it."""

    record: dict[str, Any]
    files: Mapping[str, bytes]
    """By path in a data set."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that does not differ from run to run."""
        digest = hashlib.sha256(records_digest([self.record]).encode())
        for path in sorted(self.files):
            digest.update(hashlib.sha256(self.files[path]).digest())
        return digest.hexdigest()


def merge_shards(urls: Sequence[str], out: Path, *, partial: bool = False) -> Merged:
    """Bring the shards below `urls` together into the folder `out`: a data set as one process writes it.

    Every shard's hash is compared with its name, every record with its pictures; a pair that several shards
    hold must be the same in all. Without `partial` no pair may be missing. `out` appears whole or not at all.
    Raises UserError for stores of different data sets, and a folder that holds something; CheckFailed for a
    shard that is not what its name says, and pairs that differ.
    """
    if holds_ours(out, DATASET):
        raise UserError(f"--out {out}: there is a data set already; choose another folder")
    check_writable(out, "--out")
    stores = [Store(url) for url in urls]
    abouts = [read_about(store) for store in stores]
    description = _joined(stores, abouts)
    found = [(store, shard) for store in stores for shard in parse(store.names(SHARDS))]
    found = [(store, shard) for store, shard in found if shard.range.defect in description["defects"]]
    order = {name: place for place, name in enumerate(description["defects"])}
    found.sort(key=lambda item: (order[item[1].range.defect], item[1].range.start, item[1].range.end))
    lacking = _lacking(description, [shard.range for _, shard in found])
    if lacking and not partial:
        first = lacking[0]
        raise UserError(
            f"{stores[0].url}: expected {description['count']} pairs of each defect, found "
            f"{sum(item.end - item.start for item in lacking)} missing, such as {first.defect} "
            f"{first.start} to {first.end - 1}; run generate again to make them, or merge what is there "
            "with --partial"
        )
    seen: dict[Key, tuple[str, str]] = {}
    twice = accepted = 0
    with os_errors(out), temporary_folder(out) as fresh:
        records = RecordFile(fresh / RECORDS_NAME)
        names = {(shard.name): (store, shard) for store, shard in reversed(found)}
        for store, shard in dict.fromkeys(names[shard.name] for _, shard in found):
            lines = []
            for pair in _read(store, shard):
                key = (pair.record["defect"], pair.record["index"])
                digest = pair.digest
                if key in seen:
                    twice += 1
                    _check_same(key, digest, seen[key], shard)
                    continue
                seen[key] = (digest, shard.name)
                accepted += bool(pair.record["accepted"])
                lines.append(pair.record)
                for path, data in pair.files.items():
                    (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                    (fresh / path).write_bytes(data)
            records.append(lines)
        records.keep(sorted(records.lines, key=lambda key: (order[key[0]], key[1])))
        values = Values.of(abouts[0].get("preprocessing", {}))
        labels = description.get("labels", {})
        sheet = contact_sheet(fresh, description["defects"], records.records(), labels, values)
        (fresh / CONTACT_SHEET_NAME).write_bytes(encode_picture(np.asarray(sheet)))
        write_json(fresh / DATASET_NAME, description)
        fresh.rename(out)
    shards = len(names)
    return Merged(out, shards, len(seen), accepted, twice, sum(item.end - item.start for item in lacking))


def _joined(stores: Sequence[Store], abouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description of all together; UserError where they are of different data sets."""
    first: dict[str, Any] = dict(abouts[0]["dataset"])
    defects = list(first["defects"])
    for store, about in zip(stores[1:], abouts[1:], strict=True):
        other = about["dataset"]
        defects += [name for name in other["defects"] if name not in defects]
        same = {**other, "count": first["count"], "defects": first["defects"]}
        check_continues(store.url, same, first, "merge those of one request")
        first["count"] = max(first["count"], other["count"])
        if "labels" in other:
            first["labels"] = {**first.get("labels", {}), **other["labels"]}
    ordered = [name for name in defects if name != GOOD] + [name for name in defects if name == GOOD]
    return {**first, "defects": ordered}


def _lacking(description: Mapping[str, Any], there: Sequence[Range]) -> list[Range]:
    count = description["count"]
    return [item for name in description["defects"] for item in missing(name, count, count, there)]


def _check_same(key: Key, digest: str, before: tuple[str, str], shard: Shard) -> None:
    if digest != before[0]:
        raise CheckFailed(
            f"{key[0]} {key[1]}: {before[1]} and {shard.name} hold different pairs of this number; they were "
            "made by different versions or devices. Remove the one that you do not want"
        )


def _read(store: Store, shard: Shard) -> Iterator[_Held]:
    """Yield the pairs of a shard; CheckFailed where it is not what its name says."""
    where = f"{store.url}/{shard.path}"
    held = _read_tar(store, shard, where) if shard.kind == TAR else _read_files(store, shard, where)
    place = shard.range.start
    for pair in held:
        if (pair.record["defect"], pair.record["index"]) != (shard.range.defect, place):
            raise _broken(where, f"pair {place}", f"pair {pair.record['index']}")
        place += 1
        yield pair
    if place != shard.range.end:
        raise _broken(where, f"{shard.range.end - shard.range.start} pairs", f"{place - shard.range.start}")


def _read_tar(store: Store, shard: Shard, where: str) -> Iterator[_Held]:
    index = parse_json(store.get(shard.index_path), f"{store.url}/{shard.index_path}: index of a shard")
    with tempfile.TemporaryDirectory(prefix="seas-merge-") as folder:
        file = Path(folder) / "shard.tar"
        store.fetch(shard.path, file)
        digest = sha256_file(file)
        if not digest.startswith(shard.digest[:16]) or digest != index["sha256"]:
            raise _broken(where, f"the content {shard.digest[:16]}", digest[:16])
        with file.open("rb") as tar:

            def member(name: str) -> bytes:
                if name not in index["members"]:
                    raise _broken(where, name, "no such file")
                start, size = index["members"][name]
                tar.seek(start)
                return tar.read(size)

            for record in index["records"]:
                key = f"{record['defect']}/{record['index']:06d}"
                kept = is_pair(record)
                name = f"{key}.json" if kept else f"{REJECTED}/{key}.json"
                if parse_json(member(name), f"{where}: {name}") != without_times(record):
                    raise _broken(where, f"{name} as the index has it", "another record")
                paths = pair_paths(record["defect"], record["index"]) if kept else {}
                endings = {"image": "png", "mask": "mask.png"}
                files = {path: member(f"{key}.{endings[what]}") for what, path in paths.items()}
                yield _Held(record, files)


def _read_files(store: Store, shard: Shard, where: str) -> Iterator[_Held]:
    lines = [line for line in store.get(shard.path).split(b"\n") if line]
    records = [parse_json(line, f"{where}: record") for line in lines]
    digest = records_digest(records)
    if not digest.startswith(shard.digest[:16]):
        raise _broken(where, f"the content {shard.digest[:16]}", digest[:16])
    for record in records:
        hashes = record.pop("sha256")
        paths = pair_paths(record["defect"], record["index"]) if is_pair(record) else {}
        files = {}
        for what, path in paths.items():
            files[path] = store.get(path)
            found = hashlib.sha256(files[path]).hexdigest()
            if found != hashes[what]:
                raise _broken(f"{store.url}/{path}", f"the content {hashes[what][:16]}", found[:16])
        yield _Held(record, files)


def _broken(where: str, expected: str, found: str) -> CheckFailed:
    return CheckFailed(f"{where}: expected {expected}, found {found}; remove it and run generate again")
