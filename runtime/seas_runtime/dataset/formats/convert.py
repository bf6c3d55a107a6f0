"""Converts a finished dataset: one function for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from seas_runtime.dataset.formats import coco, cvat, folders, labelme, yolo
from seas_runtime.dataset.formats.finished import (
    FinishedDataset,
    choose_validation,
    read_finished,
    require_dataset,
)
from seas_runtime.dataset.formats.target import Target
from seas_runtime.errors import UserError
from seas_runtime.files import locked
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory

ABOUT_NAME = "about.json"
CONVERTED = Kind("a converted data set")


class Format(str, Enum):
    """What a dataset is converted to."""

    MVTEC = "mvtec"
    COCO = "coco"
    YOLO_SEG = "yolo-seg"
    YOLO_DET = "yolo-det"
    LABELME = "labelme"
    CVAT = "cvat"
    FOLDER = "folder"
    IMAGE_FOLDER = "imagefolder"


_WRITERS: dict[Format, Callable[[FinishedDataset, frozenset[str], Target], int]] = {
    Format.MVTEC: folders.write_mvtec,
    Format.COCO: coco.write,
    Format.YOLO_SEG: yolo.write_segments,
    Format.YOLO_DET: yolo.write_boxes,
    Format.LABELME: labelme.write,
    Format.CVAT: cvat.write,
    Format.FOLDER: folders.write_anomalib,
    Format.IMAGE_FOLDER: folders.write_image_folder,
}
UNDIVIDED = (Format.LABELME, Format.CVAT)
"""Formats of labelling tools, without halves for training and validation."""


@dataclass(frozen=True)
class ClassCounts:
    """Pictures of a defect, or normals, in a conversion."""

    train: int
    val: int
    weak: int


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote."""

    path: Path
    format: str
    classes: dict[str, ClassCounts]
    labels: int
    """Regions, or masks where the format has mask pictures."""
    linked: int
    copied: int
    left_out: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the conversion as JSON values."""
        return {**asdict(self), "path": str(self.path)}


def find_format(name: str, option: str = "--to") -> Format:
    """Return the format of a name; UserError where there is none."""
    try:
        return Format(name.strip().lower())
    except ValueError:
        known = ", ".join(one.value for one in Format)
        raise UserError(f"{option}: expected one of {known}, found {name!r}") from None


def check_beside(dataset: Path, name: str, option: str = "--format") -> tuple[Format, Path] | None:
    """Return the format of a name and where a dataset to come is converted to: a folder beside it.

    None for MVTec AD's layout, which a dataset has already. Raises UserError, before the work, for no format
    and a folder that cannot be written or holds other files than an earlier conversion.
    """
    chosen = find_format(name, option)
    if chosen is Format.MVTEC:
        return None
    out = dataset.with_name(f"{dataset.absolute().name}-{chosen.value}")
    check_out(out, CONVERTED, option, force=True)
    return chosen, out


def convert_dataset(
    dataset: Path, to: Format | str, out: Path, *, val: float = 0.2, copy: bool = False, force: bool = False
) -> Conversion:
    """Write the accepted pairs of the finished dataset in folder `dataset` into `out`, in another format.

    Args:
        dataset: is only read, and kept from being written meanwhile.
        to: the format.
        out: a new folder; with `force` an earlier conversion is replaced.
        val: share of each defect's pictures and of the normals that validate, 0 to 0.9; which they are
            follows from their names. Labelling tools' formats have no such halves.
        copy: copy pictures that could be hard links.

    Raises:
        UserError: options out of range, no dataset there, a picture that cannot be read, or an `out` that may
            not be written. Nothing is left at `out` then.
    """
    chosen = find_format(to) if isinstance(to, str) and not isinstance(to, Format) else Format(to)
    if not 0 <= val <= 0.9:
        raise UserError(f"--val: expected a share of 0 to 0.9, found {val:g}")
    require_dataset(dataset)  # a lock would make the folder
    check_out(out, CONVERTED, "--out", force=force, inputs={"the data set": dataset})
    with locked(dataset, f"{dataset}: another run is writing this data set; wait for it or stop it"):
        found = read_finished(dataset)
        with replace_directory(out, CONVERTED) as fresh:
            target = Target(fresh, copy=copy)
            labels, validation = write_as(chosen, found, val, target)
    return Conversion(
        out,
        chosen.value,
        _count(found, validation),
        labels,
        target.linked,
        target.copied,
        found.left_out,
    )


def write_as(to: Format, found: FinishedDataset, val: float, target: Target) -> tuple[int, frozenset[str]]:
    """Write a dataset's pictures in a format; return how many labels there are, and what validates."""
    validation = frozenset() if to in UNDIVIDED else choose_validation(found.pictures, val)
    labels = _WRITERS[to](found, validation, target)
    target.json(ABOUT_NAME, {"schema": 1, "format": to.value, "dataset": found.description})
    return labels, validation


def _count(found: FinishedDataset, validation: frozenset[str]) -> dict[str, ClassCounts]:
    counts = {}
    for defect in dict.fromkeys(picture.defect for picture in found.pictures):
        same = [picture for picture in found.pictures if picture.defect == defect]
        kept = sum(1 for picture in same if picture.name in validation)
        counts[defect] = ClassCounts(len(same) - kept, kept, sum(picture.weak for picture in same))
    return counts
