"""Where a dataset's files lie: MVTec AD layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seas_runtime.files import TEMPORARY_SUFFIX, is_temporary
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.kinds import Kind, remove

DATASET_NAME = "dataset.json"
RECORDS_NAME = "records.jsonl"
CONTACT_SHEET_NAME = "contact_sheet.png"
PENDING_NAME = ".pending.json"
"""Names the files of the batch that is being written; a finished dataset has none."""
_OURS = re.compile(
    r"\.([0-9]{6}(_mask)?\.png|contact_sheet\.png|records\.jsonl|dataset\.json|\.pending\.json)\."
)
DATASET = Kind("a dataset of ours", DATASET_NAME, ("*.json", "*.jsonl"))
"""Known by `dataset.json`; what else lies in it is never touched, so nothing has to be listed."""


def image_path(defect: str, index: int) -> str:
    """Return an image's path in a dataset: `test/DEFECT/000000.png`, normals in `train/good`."""
    folder = "train" if defect == GOOD else "test"
    return f"{folder}/{defect}/{index:06d}.png"


def mask_path(defect: str, index: int) -> str | None:
    """Return a mask's path in a dataset: `ground_truth/DEFECT/000000_mask.png`; None for normals."""
    return None if defect == GOOD else f"ground_truth/{defect}/{index:06d}_mask.png"


def pair_paths(defect: str, index: int) -> dict[str, str]:
    """Return the files of a pair by what they are: image and, but for normals, mask."""
    mask = mask_path(defect, index)
    return {"image": image_path(defect, index), **({"mask": mask} if mask else {})}


def is_kept(record: Mapping[str, Any]) -> bool:
    """Whether a record's pair passed the gates and, where more were made than wanted, was chosen."""
    return bool(record["accepted"]) and record.get("kept") is not False


def is_pair(record: Mapping[str, Any]) -> bool:
    """Whether a record's pair is one of the dataset's: it is kept, and no person removed its files."""
    return is_kept(record) and not record.get("deleted")


def pair_folders(out: Path, defects: tuple[str, ...]) -> list[Path]:
    """Return the folders that pairs of `defects` lie in."""
    paths = (path for defect in defects for path in pair_paths(defect, 0).values())
    return [(out / path).parent for path in paths]


def remove_temporaries(out: Path, defects: tuple[str, ...]) -> None:
    """Remove what a killed run left half-written."""
    for folder in (out, *pair_folders(out, defects)):
        for file in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            if is_temporary(file.name) and _OURS.match(file.name) and file.is_file():
                file.unlink(missing_ok=True)


def remove_dataset(out: Path, defects: tuple[str, ...], files: Iterable[str]) -> None:
    """Remove a dataset: `files`, which its records name, then its own; `dataset.json` last. Nothing else.

    Folders that are empty then go too.
    """
    remove_temporaries(out, defects)
    remove(out, files)
    for name in (CONTACT_SHEET_NAME, PENDING_NAME, RECORDS_NAME, DATASET_NAME):
        (out / name).unlink(missing_ok=True)
