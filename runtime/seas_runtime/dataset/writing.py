"""Writes a dataset in whole batches, so that it can be killed at any moment and continued."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from seas_runtime.dataset.contact_sheet import contact_sheet
from seas_runtime.dataset.folder import (
    DatasetRequest,
    describe_dataset,
    prepare_folder,
)
from seas_runtime.dataset.layout import CONTACT_SHEET_NAME, RECORDS_NAME, pair_paths
from seas_runtime.dataset.record_file import Key, RecordFile
from seas_runtime.files import atomic_write_bytes, locked, os_errors
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.request import PairRequest

__all__ = ["DatasetRequest", "DatasetSummary", "DefectSummary", "write_dataset"]

Batch = tuple[Key, ...]
Progress = Callable[[int, int], None]
"""Called with the pairs done and the pairs in all: once at the start, then after each batch."""


@dataclass(frozen=True)
class DefectSummary:
    """How the pairs of one defect came out; `rejected` ones never passed the gates and have no files."""

    pairs: int
    accepted: int
    rejected: int
    first_try: int


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
    generator: Generator,
    request: DatasetRequest,
    out: Path,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> DatasetSummary:
    """Generate what `request` asks into folder `out`: MVTec AD layout, records, contact sheet.

    Run again after it was killed, or with a larger count, it continues, and ends with the same files as a
    run that was not: batches that are not whole are made again. A pair that no attempt brought through the
    gates has a record with `accepted` false and no files. `force` removes a dataset that is there first.

    Raises UserError for options that do not fit the bundle, a folder that holds something else, a disk that
    is full or not writable; every file there is whole then.
    """
    request = request.resolve(generator)
    with locked(out, f"{out}: another run is writing this dataset; wait for it or stop it"):
        prepare_folder(out, describe_dataset(generator, request), force)
        records = RecordFile(out / RECORDS_NAME)
        records.load()
        batches = [batch for defect in request.defects for batch in _batches(defect, request)]
        missing = [batch for batch in batches if not _is_whole(out, records, batch)]
        records.keep(_keys(batches, without=missing))
        continued = len(records.lines)
        _write_missing(generator, request, out, records, missing, progress)
        records.keep(_keys(batches))
        sheet = contact_sheet(out, request.defects, records.records(), generator.manifest.labels)
        atomic_write_bytes(out / CONTACT_SHEET_NAME, encode_png(sheet))
        return _summarise(out, request, records, continued, generator.manifest.labels)


def _batches(defect: str, request: DatasetRequest) -> Iterator[Batch]:
    """Yield the batches of one defect, as an unbroken run makes them."""
    for start in range(0, request.count, request.batch):
        yield tuple((defect, index) for index in range(start, min(start + request.batch, request.count)))


def _is_whole(out: Path, records: RecordFile, batch: Batch) -> bool:
    """Whether every pair of a batch is recorded and its files are there.

    A last batch that a larger count now fills is not whole: rounding may depend on a batch's size.
    """
    for key in batch:
        record = records.record(key)
        if record is None:
            return False
        if record["accepted"] and not all((out / path).is_file() for path in pair_paths(*key).values()):
            return False
    return True


def _keys(batches: Sequence[Batch], without: Sequence[Batch] = ()) -> list[Key]:
    """Return the pairs of `batches` in their order, but for those of `without`."""
    left_out = set(without)
    return [key for batch in batches if batch not in left_out for key in batch]


def _write_missing(
    generator: Generator,
    request: DatasetRequest,
    out: Path,
    records: RecordFile,
    missing: Sequence[Batch],
    progress: Progress | None,
) -> None:
    """Generate the missing batches, each written by a second thread while the next one is made.

    An error of that thread stops the batch in the making.
    """
    done = len(records.lines)
    total = len(request.defects) * request.count
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
            pending = writer.submit(_write_batch, out, records, pairs)
        if pending is not None:
            done += pending.result()
            report()


def _write_batch(out: Path, records: RecordFile, pairs: Sequence[GeneratedPair]) -> int:
    """Write a batch's files, then its records: what is recorded is there. Return the number of pairs."""
    lines = []
    for pair in pairs:
        paths = pair_paths(pair.record.defect, pair.record.index)
        arrays = {"image": pair.image, "mask": pair.mask}
        for name, path in paths.items():
            if pair.record.accepted:
                atomic_write_bytes(out / path, encode_png(Image.fromarray(arrays[name])))
            else:
                with os_errors(out / path, "remove"):
                    (out / path).unlink(missing_ok=True)
        lines.append({**pair.record.to_dict(), "files": paths if pair.record.accepted else None})
    records.append(lines)
    return len(pairs)


def encode_png(image: Image.Image) -> bytes:
    """Return an image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _summarise(
    out: Path, request: DatasetRequest, records: RecordFile, continued: int, labels: Mapping[str, str]
) -> DatasetSummary:
    outcomes: dict[str, Counter[str]] = {defect: Counter() for defect in request.defects}
    seconds = 0.0
    for record in records.records():
        seconds += record["times"]["total"]
        outcome = outcomes[record["defect"]]
        outcome["accepted"] += record["accepted"]
        outcome["first_try"] += record["accepted"] and len(record["attempts"]) == 1
    defects = {
        defect: DefectSummary(
            pairs=request.count,
            accepted=outcome["accepted"],
            rejected=request.count - outcome["accepted"],
            first_try=outcome["first_try"],
        )
        for defect, outcome in outcomes.items()
    }
    return DatasetSummary(out, defects, continued, seconds / len(records.lines), dict(labels))
