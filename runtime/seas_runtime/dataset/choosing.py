"""Which of a defect's candidates a dataset keeps, where more are made than wanted: those of the best score.

A candidate is a pair like any other until all of its defect are made. Then the best are marked `kept` in
their records, once and for all; of the others the record stays, with `kept` false, and the files go. What
was chosen stays chosen when the dataset grows: the pairs that are missing then are chosen among the new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seas_runtime.dataset.layout import pair_paths
from seas_runtime.dataset.pending import note_pending, pending_files
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.files import os_errors
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.kinds import remove

MAX_OVERSAMPLE = 10.0


def count_of_candidates(count: int, oversample: float) -> int:
    """Return how many pairs are made so that `count` can be kept: `oversample` times as many, rounded up."""
    return math.ceil(round(count * oversample, 6))


def candidates_of(description: Mapping[str, Any], defect: str) -> int:
    """Return how many pairs of a defect are made, as `dataset.json` says: of normals, which have no score, as
    many as wanted."""
    oversample = 1.0 if defect == GOOD else description.get("oversample", 1.0)
    return count_of_candidates(description["count"], oversample)


def count_of_pairs(candidates: int, oversample: float) -> int:
    """Return the smallest count that so many candidates, or more, are made for."""
    count = int(candidates / oversample)
    while count_of_candidates(count, oversample) < candidates:
        count += 1
    return count


def keep_best(scores: Sequence[float | None], wanted: int) -> list[int]:
    """Return the places of the `wanted` highest scores, in their order.

    Of equal ones the first is kept, and one without a score only where there are not enough others.
    """
    best = sorted(range(len(scores)), key=lambda place: (-_value(scores[place]), place))
    return sorted(best[: max(0, wanted)])


def choose(out: Path, records: RecordFile, wanted: Mapping[str, int]) -> None:
    """Choose among the candidates that nobody has chosen among yet, and remove the others' files.

    `wanted` says for each defect how many pairs the dataset in folder `out` is to hold. The records are in
    the file, and all candidates in them. Stopped at any moment, `remove_left_out` and this end the same.
    """
    left_out: list[str] = []
    decided = False
    for defect, count in wanted.items():
        own = [record for record in records.records() if record["defect"] == defect and record["accepted"]]
        candidates = [record for record in own if "kept" not in record]
        missing = count - sum(record.get("kept") is True for record in own)
        best = keep_best([record.get("score") for record in candidates], missing)
        for place, record in enumerate(candidates):
            key, decided = (defect, record["index"]), True
            if place in best:
                records.change(key, kept=True)
            else:
                records.change(key, kept=False, files=None, deleted=None)
                left_out += pair_paths(*key).values()
    if decided:
        note_pending(out, left_out)  # before the records call them nobody's
        records.keep(tuple(records.lines))
        _remove(out, left_out)


def remove_left_out(out: Path, records: RecordFile) -> None:
    """Remove the files of candidates that a killed run had decided to leave out."""
    pending = pending_files(out)
    left_out = [
        path
        for record in records.records()
        if record.get("kept") is False
        for path in pair_paths(record["defect"], record["index"]).values()
    ]
    _remove(out, [path for path in left_out if path in pending])


def _remove(out: Path, files: Sequence[str]) -> None:
    with os_errors(out, "remove"):
        remove(out, files)


def _value(score: float | None) -> float:
    """Return a score as it is compared: none, and what is no number, is less than any."""
    return score if score is not None and not math.isnan(score) else -math.inf
