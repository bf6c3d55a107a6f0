"""Moves defects from one dataset to another, with everything that a person did to their pairs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from seas_runtime.dataset.folder import read_description, written_files
from seas_runtime.dataset.layout import DATASET, DATASET_NAME, RECORDS_NAME, pair_paths, remove_dataset
from seas_runtime.dataset.pending import note_pending, refuse
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.files import os_errors, write_json
from seas_runtime.outputs.checking import holds_ours
from seas_runtime.outputs.kinds import remove


def clear_dataset(out: Path) -> None:
    """Remove the dataset in the folder `out`, where there is one; files that are not its own stay."""
    if holds_ours(out, DATASET):
        description = read_description(out / DATASET_NAME)
        with os_errors(out):
            remove_dataset(out, tuple(description["defects"]), written_files(out))


def move_defects(source: Path, target: Path, defects: Collection[str]) -> None:
    """Move the pairs of `defects` from the dataset in `source` to the one in `target`: files and records.

    The target is begun where there is none; a source without any defect left is removed. Nothing is drawn
    again: pairs that a person retouched or removed stay so, and other files stay where they are. Stopped at
    any moment, it continues when called again. Both folders are the caller's alone. Raises UserError where
    files that are not the target's are in the way.
    """
    if not holds_ours(source, DATASET):
        return
    description = read_description(source / DATASET_NAME)
    moved = [name for name in description["defects"] if name in defects]
    if not moved:
        return
    left, arrived = RecordFile(source / RECORDS_NAME), RecordFile(target / RECORDS_NAME)
    left.load()
    arrived.load()
    records = [record for record in left.records() if record["defect"] in moved]
    files = [
        path
        for record in records
        if record["accepted"]
        for path in pair_paths(record["defect"], record["index"]).values()
        if (source / path).is_file()
    ]
    taken = [path for path in files if (target / path).exists()]
    if taken:
        refuse(target, taken)
    there = read_description(target / DATASET_NAME) if holds_ours(target, DATASET) else None
    with os_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        write_json(target / DATASET_NAME, _with_defects(there or {**description, "defects": []}, moved))
        note_pending(target, {*files, *written_files(target)})
        for path in files:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source / path, target / path)
        known = {(record["defect"], record["index"]) for record in arrived.records()}
        arrived.append([record for record in records if (record["defect"], record["index"]) not in known])
        left.keep([key for key in left.lines if key[0] not in moved])
        remove(source, files)  # the folders that are empty now
        rest = [name for name in description["defects"] if name not in moved]
        if rest:
            write_json(source / DATASET_NAME, {**description, "defects": rest})
        else:
            remove_dataset(source, tuple(moved), ())
            with contextlib.suppress(OSError):
                source.rmdir()  # which an empty folder alone allows


def _with_defects(description: dict[str, Any], more: Collection[str]) -> dict[str, Any]:
    return {**description, "defects": list(dict.fromkeys([*description["defects"], *more]))}
