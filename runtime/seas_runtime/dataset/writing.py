"""Writes a dataset in whole batches, so that it can be killed at any moment and continued."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.dataset.choosing import choose, remove_left_out
from seas_runtime.dataset.contact_sheet import contact_sheet
from seas_runtime.dataset.folder import (
    DatasetRequest,
    describe_dataset,
    kept_count,
    prepare_folder,
    written_files,
)
from seas_runtime.dataset.layout import (
    CONTACT_SHEET_NAME,
    DATASET,
    PENDING_NAME,
    RECORDS_NAME,
    is_kept,
    is_pair,
    pair_paths,
)
from seas_runtime.dataset.pending import check_free, note_pending, refuse
from seas_runtime.dataset.record_file import Key, RecordFile
from seas_runtime.files import atomic_write_bytes, locked, os_errors
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.request import PairRequest
from seas_runtime.outputs.checking import holds_ours, refuse_overlap
from seas_runtime.outputs.kinds import some
from seas_runtime.photographs.png import encode_picture
from seas_runtime.photographs.values import Values
from seas_runtime.spreading.contract import Pair, PairSource

__all__ = ["DatasetRequest", "DatasetSummary", "DefectSummary", "write_dataset"]

logger = logging.getLogger(__name__)

Batch = tuple[Key, ...]
Progress = Callable[[int, int], None]
"""Called with the pairs done and the pairs in all: once at the start, then after each batch."""


@dataclass(frozen=True)
class DefectSummary:
    """How the pairs of one defect came out: `pairs` were made, the `accepted` ones are in the dataset.

    `rejected` ones never passed the gates, `left_out` ones did and others had a better score: both have no
    files. `deleted` ones were accepted, and a person removed their files.
    """

    pairs: int
    accepted: int
    rejected: int
    first_try: int
    deleted: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset holds. `continued` counts the pairs that an earlier run had made."""

    path: Path
    defects: dict[str, DefectSummary]
    continued: int
    seconds_per_pair: float
    labels: dict[str, str] = field(default_factory=dict)
    """What people call the defects, by name, where that is something else."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {**asdict(self), "path": str(self.path)}


def write_dataset(
    generator: PairSource,
    request: DatasetRequest,
    out: Path,
    progress: Progress | None = None,
    *,
    force: bool = False,
    restore: bool = False,
) -> DatasetSummary:
    """Generate what `request` asks into folder `out`: MVTec AD layout, records, contact sheet.

    Run again after it was killed it ends with the same files as a run that was not: what is missing is made,
    in its batch. So it is with a larger count or more defects; with a smaller count all pairs stay. A pair
    that is recorded and there is never written again, so that what a person retouched in it stays. A pair
    that no attempt brought through the gates has a record with `accepted` false and no files. With
    `oversample` the best pairs are kept once all of a defect are made: see `choosing`. A pair whose files a
    person removed stays removed: its record says `deleted`; `restore` makes such pairs again. `force`
    removes a dataset that is there first. Files that are not the dataset's are left alone.

    Raises UserError for options that do not fit the bundle, a folder that holds something else, a disk that
    is full or not writable; every file there is whole then.
    """
    request = request.resolve(generator)
    reader = generator.mask_reader
    others = {} if reader is None else {"the bundle that measures masks": reader.bundle.path}
    refuse_overlap(out, {"the bundle": generator.bundle.path, **others})
    with locked(out, f"{out}: another run is writing this dataset; wait for it or stop it"):
        holds_ours(out, DATASET)
        if not force:
            request = replace(request, count=kept_count(out, request.count, request.oversample))
        image = generator.manifest.image
        wanted = [path for key in _keys(_all_batches(request)) for path in pair_paths(*key).values()]
        size = None if request.placing else (image.width, image.height)
        check_free(out, wanted, written_files(out), size)
        prepare_folder(out, describe_dataset(generator, request), force)
        records = RecordFile(out / RECORDS_NAME)
        records.load()
        records.keep(tuple(records.lines))  # without what a killed writer left of its last line
        remove_left_out(out, records)
        batches = _all_batches(request)
        _mark_deleted(out, records, batches, restore)
        done = {key for key in _keys(batches) if _is_done(out, records.record(key), restore)}
        missing = [batch for batch in batches if not done.issuperset(batch)]
        _write_missing(
            generator, request, _Place(out, records, written_files(out), restore), missing, progress
        )
        records.keep(_keys(batches))
        if request.oversample > 1:
            choose(out, records, {name: request.count for name in request.defects if name != GOOD})
        (out / PENDING_NAME).unlink(missing_ok=True)
        values = Values.of(generator.manifest.preprocessing)
        sheet = contact_sheet(out, request.defects, records.records(), generator.manifest.labels, values)
        atomic_write_bytes(out / CONTACT_SHEET_NAME, encode_picture(np.asarray(sheet)))
        return _summarise(out, request, records, len(done), generator.manifest.labels)


def _batches(defect: str, request: DatasetRequest) -> Iterator[Batch]:
    """Yield the batches of one defect, as an unbroken run makes them."""
    count = request.candidates(defect)
    for start in range(0, count, request.batch):
        yield tuple((defect, index) for index in range(start, min(start + request.batch, count)))


def _all_batches(request: DatasetRequest) -> list[Batch]:
    return [batch for defect in request.defects for batch in _batches(defect, request)]


def _mark_deleted(out: Path, records: RecordFile, batches: Sequence[Batch], restore: bool) -> None:
    """Say in their records which pairs a person removed: a record is written after its pair's files.

    Those that came back, as out of a trash bin, are pairs again; with `restore` none is marked.
    """
    gone = []
    for key in _keys(batches):
        record = records.record(key)
        if record and record.get("deleted") and _is_there(out, record):
            records.change(key, deleted=None)
        elif record and not record.get("deleted") and not _is_there(out, record) and not restore:
            records.change(key, deleted=True)
            gone.append(key)
    records.keep(tuple(records.lines))
    if gone:
        logger.warning(
            "%s: the files of %d pairs were removed (%s); they stay so, --restore makes them again",
            out,
            len(gone),
            some([pair_paths(*key)["image"] for key in gone]),
        )


def _is_there(out: Path, record: dict[str, Any]) -> bool:
    """Whether a pair has its files, or needs none."""
    paths = pair_paths(record["defect"], record["index"]).values()
    return not is_kept(record) or all((out / path).is_file() for path in paths)


def _is_done(out: Path, record: dict[str, Any] | None, restore: bool) -> bool:
    """Whether a pair is recorded and its files are there, or a person removed them: it is not written."""
    return record is not None and (_is_there(out, record) or (bool(record.get("deleted")) and not restore))


def _keys(batches: Sequence[Batch]) -> list[Key]:
    """Return the pairs of `batches` in their order."""
    return [key for batch in batches for key in batch]


@dataclass(frozen=True)
class _Place:
    """Where batches are written: the folder, its records, and which files in it are ours."""

    out: Path
    records: RecordFile
    ours: set[str]
    restore: bool

    def write(self, pairs: Sequence[Pair]) -> int:
        """Write what a batch lacks: files, then records: what is recorded is there. Return its size."""
        lines, files, unneeded = [], {}, set()
        for pair in pairs:
            record = pair.record
            old = self.records.record((record.defect, record.index))
            if _is_done(self.out, old, self.restore):
                continue  # the others of its batch were missing, or it has grown
            paths = pair_paths(record.defect, record.index)
            lines.append({**record.to_dict(), "files": paths if record.accepted else None})
            for name, path in paths.items():
                if old is not None and (self.out / path).exists():
                    continue  # the half of a pair that a person left
                if record.accepted:
                    files[path] = pair.encode(name)
                else:
                    unneeded.add(path)
        self._write_files(files, unneeded & self.ours)
        self.records.append(lines)
        return len(pairs)

    def _write_files(self, files: dict[str, bytes], unneeded: set[str]) -> None:
        out = self.out
        foreign = [
            path
            for path, data in files.items()
            if path not in self.ours and (out / path).exists() and (out / path).read_bytes() != data
        ]
        if foreign:
            refuse(out, foreign)
        note_pending(out, files)
        for path, data in files.items():
            atomic_write_bytes(out / path, data)
        for path in unneeded:
            with os_errors(out / path, "remove"):
                (out / path).unlink(missing_ok=True)


def _write_missing(
    generator: PairSource,
    request: DatasetRequest,
    place: _Place,
    missing: Sequence[Batch],
    progress: Progress | None,
) -> None:
    """Generate the missing batches, each written by a second thread while the next one is made.

    An error of that thread stops the batch in the making.
    """
    total = sum(map(request.candidates, request.defects))
    done = total - sum(map(len, missing))
    requests = {defect: request.of(defect) for defect in request.defects}
    wanted = ([PairRequest(requests[defect], index) for defect, index in batch] for batch in missing)

    def report() -> None:
        if progress is not None:
            progress(done, total)

    report()
    with ThreadPoolExecutor(1, "writer") as writer:
        pending: Future[int] | None = None

        def stop_if_writing_failed() -> None:
            if pending is not None and pending.done():
                pending.result()

        for pairs in generator.generate_batches(wanted, stop_if_writing_failed):
            if pending is not None:
                done += pending.result()
                report()
            pending = writer.submit(place.write, pairs)
        if pending is not None:
            done += pending.result()
            report()


def _summarise(
    out: Path, request: DatasetRequest, records: RecordFile, continued: int, labels: Mapping[str, str]
) -> DatasetSummary:
    outcomes: dict[str, Counter[str]] = {defect: Counter() for defect in request.defects}
    seconds = 0.0
    for record in records.records():
        seconds += record["times"]["total"]
        outcome = outcomes[record["defect"]]
        outcome["rejected"] += not record["accepted"]
        outcome["left_out"] += record["accepted"] and not is_kept(record)
        outcome["deleted"] += is_kept(record) and not is_pair(record)
        outcome["accepted"] += is_pair(record)
        outcome["first_try"] += is_pair(record) and len(record["attempts"]) == 1
    defects = {
        defect: DefectSummary(
            pairs=request.candidates(defect),
            **{name: outcome[name] for name in ("accepted", "rejected", "first_try", "deleted", "left_out")},
        )
        for defect, outcome in outcomes.items()
    }
    return DatasetSummary(out, defects, continued, seconds / len(records.lines), dict(labels))
