"""The pairs of a finished dataset that a conversion takes, and how many it leaves out."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seas_runtime.dataset.choosing import candidates_of
from seas_runtime.dataset.folder import read_description
from seas_runtime.dataset.formats.shapes.regions import BoolArray, LabelledRegion, find_regions
from seas_runtime.dataset.layout import DATASET, DATASET_NAME, RECORDS_NAME, is_kept, pair_paths
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.checking import holds_ours
from seas_runtime.outputs.kinds import is_inside

_MIDDLE = 127  # of a mask's grey values: above it is defect, also where a person drew soft edges
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


@dataclass(frozen=True)
class Picture:
    """A picture of the dataset and what is known of it; a normal has no mask."""

    name: str
    """Unique in the dataset: `scratch_000007`."""
    defect: str
    image: Path
    mask: Path | None
    size: tuple[int, int]
    """Width and height."""
    weak: bool = False
    """Whether the mask is a box around the defect rather than its outline."""

    @property
    def file_name(self) -> str:
        """The picture's name where all lie in one folder, with its ending."""
        return self.name + self.image.suffix

    def read_mask(self) -> BoolArray:
        """Return the mask, bool [height, width]; all False for a normal. UserError if it does not fit."""
        if self.mask is None:
            return np.zeros(self.size[::-1], dtype=np.bool_)
        with _readable(self.mask) as opened:
            size = opened.size
            if size != self.size:
                raise UserError(
                    f"{self.mask}: expected the size of its picture, {self.size[0]} x {self.size[1]}, found "
                    f"{size[0]} x {size[1]}; draw it again, or remove the pair and generate --restore"
                )
            return np.asarray(opened.convert("L")) > _MIDDLE

    def regions(self) -> list[LabelledRegion]:
        """Return the connected regions of the mask."""
        return find_regions(self.read_mask())


@dataclass(frozen=True)
class FinishedDataset:
    """A dataset's description and the pictures in it, defects in the dataset's order, normals last."""

    path: Path
    description: dict[str, Any]
    pictures: tuple[Picture, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    """How many pairs are not among the pictures, by why."""

    @property
    def product(self) -> str:
        """The product's name."""
        return str(self.description.get("product", "product"))

    @property
    def defects(self) -> list[str]:
        """The defects' names, without the normals: the classes of labels."""
        return [name for name in self.description["defects"] if name != GOOD]

    @property
    def weak(self) -> list[Picture]:
        """The pictures whose masks are boxes."""
        return [picture for picture in self.pictures if picture.weak]


def require_dataset(path: Path) -> None:
    """Raise a UserError where the folder `path` holds no dataset."""
    if not path.is_dir() or not holds_ours(path, DATASET):
        raise UserError(
            f"{path}: expected the folder of a data set that `seas-export generate` wrote, found "
            f"{'no data set' if path.is_dir() else 'no such folder'}"
        )


def read_finished(path: Path) -> FinishedDataset:
    """Read which pairs of the dataset in folder `path` there are.

    Rejected ones, those of which others with a better score were kept, those whose files a person removed,
    and pairs with an empty mask are left out. Raises
    UserError where there is no dataset, a picture cannot be read, or nothing is left.
    """
    require_dataset(path)
    description = read_description(path / DATASET_NAME)
    records = RecordFile(path / RECORDS_NAME)
    records.load()
    left_out: Counter[str] = Counter()
    by_defect: dict[str, list[Picture]] = {name: [] for name in description["defects"]}
    for record in records.records():
        if record["defect"] not in by_defect:
            continue
        found = _picture(path, record, left_out)
        if found is not None:
            by_defect[found.defect].append(found)
    expected = sum(candidates_of(description, name) for name in by_defect)
    if (missing := expected - len(records.lines)) > 0:
        left_out["not generated yet"] = missing
    pictures = [
        picture for same in by_defect.values() for picture in sorted(same, key=lambda picture: picture.name)
    ]
    if not pictures:
        raise UserError(
            f"{path}: expected pairs to convert, found none that was accepted and is there"
            + (f" ({', '.join(f'{n} {why}' for why, n in left_out.items())})" if left_out else "")
        )
    return FinishedDataset(path, description, tuple(pictures), dict(left_out))


def _picture(path: Path, record: dict[str, Any], left_out: Counter[str]) -> Picture | None:
    """Return a record's picture, None where it is left out, which is counted."""
    defect, index = record["defect"], record["index"]
    if not record["accepted"]:
        left_out["rejected"] += 1
        return None
    if not is_kept(record):
        left_out["of a lower score"] += 1
        return None
    files = record.get("files")
    files = files if isinstance(files, dict) else pair_paths(defect, index)
    wanted: list[Any] = [files.get("image"), *([files.get("mask")] if defect != GOOD else [])]
    for name in wanted:
        if not isinstance(name, str) or not is_inside(name) or "\\" in name:
            raise UserError(
                f"{path / RECORDS_NAME}: expected the paths of a pair in the data set, found {name!r} for "
                f"{defect} {index}; the file was changed: generate the data set again"
            )
    if record.get("deleted") or not all((path / name).is_file() for name in wanted):
        left_out["removed by hand"] += 1
        return None
    image, mask = path / wanted[0], path / wanted[1] if defect != GOOD else None
    found = picture_of(record, image, mask)
    if defect != GOOD and not found.read_mask().any():
        left_out["with an empty mask"] += 1
        return None
    return found


def picture_of(record: dict[str, Any], image: Path, mask: Path | None) -> Picture:
    """Return what a record and its picture's first bytes say; UserError for a picture that is none."""
    with _readable(image) as opened:
        size = opened.size
    defect, weak = record["defect"], bool(record.get("weak")) and mask is not None
    return Picture(f"{defect}_{record['index']:06d}", defect, image, mask, size, weak)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever Pillow raises while it is used becomes a UserError."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path}: expected a picture, found none that can be read ({words}); remove the pair and run "
            "generate --restore"
        ) from error


def choose_validation(pictures: Sequence[Picture], share: float) -> frozenset[str]:
    """Return the names of the pictures that validate: `share` of each defect's and of the normals.

    Which they are follows from the names alone. One at the least where there are two, none for a share of 0.
    """
    chosen: set[str] = set()
    for defect in dict.fromkeys(picture.defect for picture in pictures):
        names = [picture.name for picture in pictures if picture.defect == defect]
        count = max(1, round(len(names) * share)) if share else 0
        order = sorted(names, key=lambda name: sha256(name.encode()).digest())
        chosen.update(order[: min(count, len(names) - 1)])
    return frozenset(chosen)
