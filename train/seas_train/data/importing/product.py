"""Writes a product in MVTec AD layout from a source's labels, and reports what was taken and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from seas_runtime.dataset.formats.target import Target
from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import is_safe_name
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind as FolderKind
from seas_runtime.outputs.replacing import replace_directory
from seas_runtime.printable import printable
from seas_train.data.images import Opened, UnreadableImage, open_image, quiet_decoders
from seas_train.data.importing.classes import ClassMap, defect_of, folder_names, read_map
from seas_train.data.importing.sources import Labels, Source, choose_source, read_labels
from seas_train.data.layouts.annotations.shapes import Marked
from seas_train.data.layouts.annotations.voc import ClassColours
from seas_train.data.layouts.found import is_normal_word
from seas_train.data.masks import on_photograph
from seas_train.data.names import match_key, natural_key
from seas_train.data.problems import Kind, Problem, Problems, Severity, grouped, relative_path

IMPORTED = FolderKind("an imported product")
IMPORT_NAME = "import.json"


@dataclass(frozen=True)
class ImportReport:
    """What an import took, and what it did not and why."""

    path: Path
    source: Path
    kind: str
    signs: str
    normals: int
    defects: dict[str, int]
    """Pairs by the name of the defect's folder."""
    weak: dict[str, int]
    """How many of them are boxes."""
    linked: int
    copied: int
    problems: tuple[Problem, ...]
    pictures: dict[str, str]
    """Where each picture came from: path in the product -> path in the source."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "schema": 1,
            "product": str(self.path),
            "source": str(self.source),
            "from": self.kind,
            "signs": self.signs,
            "normals": self.normals,
            "defects": self.defects,
            "weak": self.weak,
            "linked": self.linked,
            "copied": self.copied,
            "not_taken": [
                {
                    "kind": problem.kind.value,
                    "path": printable(relative_path(problem.path, self.source)) or None,
                    "message": printable(problem.message),
                }
                for problem in self.problems
            ],
            "pictures": {new: printable(old) for new, old in self.pictures.items()},
        }

    def to_text(self) -> str:
        """Return the report as text: a table of counts, what was not taken, and what to do next."""
        width = max(12, *(len(name) for name in (*self.defects, GOOD)))
        lines = [
            f"Product {self.path}: from {self.source} ({self.kind}: {self.signs})",
            "",
            f"  {'':{width}}  pictures   weak",
            f"  {GOOD:{width}}  {self.normals:8}",
            *(
                f"  {name:{width}}  {count:8}  {self.weak.get(name) or '':>5}"
                for name, count in self.defects.items()
            ),
            "",
            f"Pictures are unchanged: {self.linked} linked, {self.copied} copied.",
        ]
        if self.weak:
            lines.append("Weak masks are boxes around defects, not their outlines; weak.json lists them.")
        if self.problems:
            lines += [
                "",
                f"Not taken, or in doubt ({len(self.problems)})",
                *grouped(self.problems, self.source),
            ]
        if not self.normals:
            lines += ["", f"No normal pictures: put some into {self.path / 'train' / GOOD} before training."]
        lines += ["", f"Next: seas-export data inspect {self.path}"]
        return printable("\n".join(lines), keep="\n")


@dataclass(frozen=True)
class _Taken:
    """A picture that is taken: its defect's folder, its name without ending, and its mask."""

    defect: str
    name: str
    image: Path
    mask: Image.Image
    weak: bool


def import_product(
    source: Path,
    product: str,
    out: Path,
    *,
    kind: Source = Source.AUTO,
    renamed: Sequence[str] = (),
    colours: ClassColours | None = None,
    copy: bool = False,
    force: bool = False,
) -> ImportReport:
    """Write the product `out`/`product` in MVTec AD layout from the labels in folder `source`.

    Args:
        source: a folder of photographs and labels; it is only read.
        product: the product's name, a folder in `out`.
        out: a folder of products.
        kind: what the labels are.
        renamed: classes that are renamed, merged or left out: `OLD=NEW`.
        colours: which class colours are no defect, where no file says it.
        copy: copy photographs that could be hard links.
        force: replace what an earlier import wrote there.

    Raises:
        UserError: there are no such labels, an option does not fit them, nothing could be taken, or the
            folder may not be written. Nothing is left there then.
    """
    if not is_safe_name(product):
        raise UserError(f"--product {product!r}: expected a name that can be a folder, such as bracket")
    source, place = source.absolute(), out / product
    kind = choose_source(source, kind)
    check_out(place, IMPORTED, "--out", force=force, inputs={"the labels' folder": source})
    problems = Problems()
    with quiet_decoders():
        labels = read_labels(source, kind, colours or ClassColours(), problems)
        _stop_on_errors(source, problems)
        known = {mark.label for entry in labels.marked for mark in entry.marks}
        classes = read_map(renamed, known)
        with replace_directory(place, IMPORTED) as fresh:
            target = Target(fresh, copy=copy)
            report = _write(labels, classes, target, source, place, problems)
            target.json(IMPORT_NAME, report.to_dict())
    return report


def _stop_on_errors(source: Path, problems: Problems) -> None:
    errors = [problem for problem in problems.found if problem.severity is Severity.ERROR]
    # Without normals, or without masks of some defect, there may still be something to take.
    errors = [problem for problem in errors if problem.kind is not Kind.FOLDER_MISSING]
    if errors:
        raise UserError("\n".join([f"{source}: the labels cannot be taken", *grouped(errors, source)]))


def _write(
    labels: Labels, classes: ClassMap, target: Target, source: Path, place: Path, problems: Problems
) -> ImportReport:
    """Write all pictures and masks that can be taken; UserError where there are none."""
    names = _Names()
    spelled: dict[str, str] = {}  # one folder for labels that differ in their case alone
    found = [
        None
        if (defect := defect_of(entry.marks, classes)[0]) is None
        else spelled.setdefault(match_key(defect), defect)
        for entry in labels.marked
    ]
    folders = folder_names({defect for defect in found if defect is not None})
    counts = dict.fromkeys(sorted(folders.values()), 0)
    weak: dict[str, list[str]] = {name: [] for name in counts}
    pictures: dict[str, str] = {}
    normals = [("train", path) for path in labels.normals] + [("test", path) for path in labels.test_normals]
    for entry, defect in sorted(
        zip(labels.marked, found, strict=True), key=lambda e: natural_key(e[0].image)
    ):
        if defect is None:
            normals += [("train", entry.image)] if _is_normal(entry, classes, problems) else []
            continue
        taken = _take(entry, folders[defect], classes, names, problems)
        if taken is None:
            continue
        path = f"test/{taken.defect}/{taken.name}{taken.image.suffix}"
        mask = f"ground_truth/{taken.defect}/{taken.name}_mask.png"
        target.place(taken.image, path)
        target.picture(mask, taken.mask)
        counts[taken.defect] += 1
        weak[taken.defect] += [mask] if taken.weak else []
        pictures[path] = relative_path(taken.image, source)
    for half, image in sorted(normals, key=lambda normal: natural_key(normal[1])):
        if _photograph(image, problems) is not None:
            folder = f"{half}/{GOOD}"
            path = f"{folder}/{names.unique(folder, image)}{image.suffix}"
            target.place(image, path)
            pictures[path] = relative_path(image, source)
    if not pictures:
        told = grouped(problems.found, source)
        raise UserError("\n".join([f"{source}: expected photographs with labels, could take none", *told]))
    target.weak(mask for masks in weak.values() for mask in masks)
    return ImportReport(
        path=place,
        source=source,
        kind=labels.source.value,
        signs=labels.signs,
        normals=sum(1 for path in pictures if path.split("/")[1] == GOOD),
        defects={name: count for name, count in counts.items() if count},
        weak={name: len(masks) for name, masks in weak.items() if masks},
        linked=target.linked,
        copied=target.copied,
        problems=tuple(problems.found),
        pictures=pictures,
    )


def _is_normal(entry: Marked, classes: ClassMap, problems: Problems) -> bool:
    """Whether a picture without a defect is a normal one: not where something else is marked on it."""
    dropped = [mark.label for mark in entry.marks if not is_normal_word(classes.name(mark.label))]
    if dropped:
        message = f"only has {', '.join(sorted(set(dropped)))}, which --map leaves out; left out"
        problems.warn(Kind.UNLABELLED, entry.image, message)
    elif entry.lines:
        problems.warn(Kind.BOXES, entry.image, "has lines, points or tags and no outline; left out")
    return not dropped and not entry.lines and not entry.broken


def _take(entry: Marked, folder: str, classes: ClassMap, names: _Names, problems: Problems) -> _Taken | None:
    """Return a picture with its mask; None, with a warning, where one of them cannot be used."""
    photograph = _photograph(entry.image, problems)
    if photograph is None:
        return None
    marks = defect_of(entry.marks, classes)[1]
    drawn = entry.drawn(marks)
    mask = on_photograph(drawn, photograph)
    if mask is None:
        expected, found = ("{} x {}".format(*size) for size in (photograph.size, drawn.size))
        message = f"its labels are of a picture of {found}, it has {expected}; left out"
        problems.warn(Kind.SIZES_DIFFER, entry.image, message)
        return None
    if mask.getbbox() is None:
        problems.warn(Kind.EMPTY_MASK, entry.image, "nothing of its labels lies on the picture; left out")
        return None
    if entry.lines:
        problems.warn(Kind.BOXES, entry.image, f"{entry.lines} lines, points or tags are not taken")
    weak = any(mark.box or mark.weak for mark in marks)
    return _Taken(folder, names.unique(folder, entry.image), entry.image, mask, weak)


def _photograph(image: Path, problems: Problems) -> Opened | None:
    """Return a photograph, decoded; None, with a warning, where it cannot be."""
    try:
        return open_image(image, thumbnail=True)
    except UnreadableImage as error:
        kind = Kind.TOO_LARGE if error.too_large else Kind.UNREADABLE
        problems.warn(kind, image, f"{error.reason}; left out")
        return None


class _Names:
    """Gives every picture a name of its own in the folder that it comes into."""

    def __init__(self) -> None:
        self.taken: set[tuple[str, str]] = set()

    def unique(self, folder: str, image: Path) -> str:
        """Return the picture's name without its ending, with a number where it is taken."""
        stem = printable(image.stem).replace("\\", "_")[:100]
        name, number = stem, 1
        while (folder, match_key(name)) in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add((folder, match_key(name)))
        return name
