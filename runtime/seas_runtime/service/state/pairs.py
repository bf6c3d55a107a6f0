"""A job's pairs as people page through them: what the records say, and what was said of them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime.dataset.layout import RECORDS_NAME, is_kept, pair_paths
from seas_runtime.dataset.record_file import Key, parse_record
from seas_runtime.files import lines_from, os_errors
from seas_runtime.service.refusals import NotThere
from seas_runtime.service.state.reviews import Review, Reviews

DATASET = "dataset"
_HELD_JOBS = 8


@dataclass(frozen=True)
class Pair:
    """A pair, with what was said of it."""

    record: dict[str, Any]
    review: Review

    @property
    def key(self) -> Key:
        """Its defect and index."""
        return self.record["defect"], self.record["index"]

    @property
    def passed(self) -> bool:
        """Whether it passed the gates and was kept, and so has files."""
        return is_kept(self.record)

    def shown(self) -> dict[str, Any]:
        """Return what the API says of it."""
        last = self.record["attempts"][-1] if self.record["attempts"] else {}
        return {
            "defect": self.key[0],
            "index": self.key[1],
            "passed": self.passed,
            "score": self.record.get("score"),
            "gate": last.get("rejected"),
            "attempts": len(self.record["attempts"]),
            "mask_area": last.get("mask_area"),
            "seconds": self.record["times"]["total"],
            "photograph": self.record.get("photograph"),
            "has_mask": "mask" in pair_paths(*self.key),
            "verdict": self.review.verdict,
            "reason": self.review.reason,
            "comment": self.review.comment,
            "corrected": self.review.mask is not None,
            "reviewed_by": self.review.who,
        }


class JobPairs:
    """One job's records, of which those are read that are new, and its reviews."""

    def __init__(self, folder: Path, reviews: Reviews) -> None:
        self.folder = folder
        self.reviews = reviews
        self._file = folder / DATASET / RECORDS_NAME
        self._lock = threading.Lock()
        self._number, self._read_to = 0, 0
        self._held: dict[Key, dict[str, Any]] = {}

    def all(self) -> list[Pair]:
        """Return the pairs in the records' order."""
        reviews = self.reviews.all()
        with self._lock:
            return [Pair(record, reviews.get(key, Review())) for key, record in self._loaded().items()]

    def get(self, defect: str, index: int) -> Pair:
        """Return one; UserError where there is none."""
        with self._lock:
            record = self._loaded().get((defect, index))
        if record is None:
            raise NotThere("pair: there is none of that defect and number")
        return Pair(record, self.reviews.all().get((defect, index), Review()))

    def image(self, pair: Pair) -> Path:
        """Return the file of a pair's picture; UserError where there is none (any more)."""
        return self._there(self.folder / DATASET / pair_paths(*pair.key)["image"])

    def mask(self, pair: Pair, original: bool = False) -> Path:
        """Return the file of a pair's mask: a person's correction, or the generated one."""
        if pair.review.mask is not None and not original:
            return self._there(self.folder / pair.review.mask)
        if (path := pair_paths(*pair.key).get("mask")) is None:
            raise NotThere("mask: a normal has none")
        return self._there(self.folder / DATASET / path)

    def _there(self, path: Path) -> Path:
        if not path.is_file() or path.is_symlink():
            raise NotThere("pair: its files are not there: it did not pass the gates, or was removed")
        return path

    def _loaded(self) -> dict[Key, dict[str, Any]]:
        """Return the records. The caller holds the lock.

        A writer appends to the file, or puts another in its place: that one is read from its start.
        """
        if not self._file.exists():
            return {}
        with os_errors(self._file, "read"), self._file.open("rb") as file:
            number = os.fstat(file.fileno()).st_ino
            if number != self._number or file.seek(0, os.SEEK_END) < self._read_to:
                self._number, self._read_to, self._held = number, 0, {}
            lines, self._read_to = lines_from(file, self._read_to)
        for line in lines:
            if (record := parse_record(line)) is not None:
                self._held[record["defect"], record["index"]] = record
        return self._held


class PairsOfJobs:
    """The pairs of the jobs that were asked for last, and of every job the one object that writes reviews."""

    def __init__(self) -> None:
        self._held: OrderedDict[Path, JobPairs] = OrderedDict()
        self._reviews: dict[Path, Reviews] = {}
        self._lock = threading.Lock()

    def of(self, folder: Path) -> JobPairs:
        """Return the pairs of the job in a folder."""
        with self._lock:
            reviews = self._reviews.setdefault(folder, Reviews(folder))
            found = self._held.pop(folder, None) or JobPairs(folder, reviews)
            self._held[folder] = found
            while len(self._held) > _HELD_JOBS:
                self._held.popitem(last=False)
            return found
