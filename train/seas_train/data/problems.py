"""Problems of a product's files, and the report that lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from seas_runtime.printable import printable
from seas_train.data.names import shown_label
from seas_train.data.sizes import DefectSize

LINES_PER_KIND = 20  # the rest is counted in the text and listed in to_dict()


class Severity(str, Enum):
    """Whether the run stops (error) or goes on without the file (warning)."""

    ERROR = "error"
    WARNING = "warning"


class Kind(str, Enum):
    """Kinds of problems; the value is the heading in the report."""

    NO_NORMALS = "no normals"
    NO_DEFECTS = "no defects"
    DEFECT_WITHOUT_PAIRS = "defect without pairs"
    BROKEN_TABLE = "broken table"
    BROKEN_LABELS = "broken labels"
    FOLDER_MISSING = "folder missing"
    UNREADABLE = "unreadable image"
    TOO_LARGE = "image too large"
    MISSING_MASK = "missing mask"
    EXTRA_MASK = "mask without image"
    EMPTY_MASK = "empty mask"
    SIZES_DIFFER = "sizes of image and mask differ"
    OUTSIDE_CROP = "defect outside the centre crop"
    MASK_VANISHES = "mask vanishes"
    NOT_A_MASK = "not a mask"
    MASK_DOUBT = "how the mask is meant"
    MASK_SCALED = "mask scaled to its image"
    DEFECT_CUT = "defect cut by the centre crop"
    SMALL_DEFECT = "defect smaller than a latent cell"
    CROPPED = "much is outside the centre crop"
    FLAT = "few levels used"
    DEPTHS_DIFFER = "depths differ"
    MASK_THIN = "mask too thin for the latent grid"
    MASK_NEARLY_FULL = "mask covers nearly everything"
    NAME_COLLISION = "name used twice"
    STRAY_MASK = "mask among photographs"
    BOXES = "boxes instead of outlines"
    SEVERAL_MASKS = "several masks for one image"
    UNLABELLED = "image without a label"
    MISSING_FILE = "file missing"
    DUPLICATE = "same picture twice"
    BLANK = "blank image"
    SEVERAL_PAGES = "several pages in one file"
    ROTATION_UNCLEAR = "rotation of the mask unclear"
    RENAMED = "defect renamed"
    IGNORED = "ignored"
    FEW_NORMALS = "fewer normals than asked for"
    FEW_PAIRS = "fewer pairs than asked for"


@dataclass(frozen=True)
class Problem:
    """One line of a report."""

    severity: Severity
    kind: Kind
    path: Path | None
    """The file or folder; None for the product as a whole."""
    message: str


@dataclass
class Problems:
    """Problems as they are found, in the order they are found."""

    found: list[Problem] = field(default_factory=list)
    _sources: dict[Path, Path] = field(default_factory=dict)

    def stand_in(self, drawn: Path, source: Path) -> None:
        """Name `source` in the problems of a file that was drawn from it."""
        self._sources[drawn] = source

    def error(self, kind: Kind, path: Path | None, message: str) -> None:
        """Add a problem that stops the run."""
        self._add(Severity.ERROR, kind, path, message)

    def excuse(self, kind: Kind) -> None:
        """Turn the errors of a kind that were found so far into warnings."""
        self.found = [
            replace(problem, severity=Severity.WARNING) if problem.kind is kind else problem
            for problem in self.found
        ]

    def warn(self, kind: Kind, path: Path | None, message: str) -> None:
        """Add a problem that the run can do without."""
        self._add(Severity.WARNING, kind, path, message)

    def _add(self, severity: Severity, kind: Kind, path: Path | None, message: str) -> None:
        self.found.append(
            Problem(severity, kind, None if path is None else self._sources.get(path, path), message)
        )


@dataclass(frozen=True)
class Counts:
    """Numbers of normals, or of a defect's pairs."""

    name: str
    label: str
    """The folder's or table's own spelling of the name."""
    found: int
    left_out: int
    """With a problem in the report."""
    train: int
    test: int

    @property
    def unused(self) -> int:
        """Whole images beyond the split: they neither train nor test."""
        return self.found - self.left_out - self.train - self.test


@dataclass(frozen=True)
class ProductReport:
    """The contents of a product's folder, and its problems."""

    product: str
    root: Path
    layout: str
    size: int
    fit: str
    latent_size: int
    normals: Counts
    defects: tuple[Counts, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    sizes: tuple[DefectSize, ...] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict)
    """Depths, window and ways of masks."""
    label: str = ""
    """The product's own spelling of its name."""
    signs: str = ""
    """What the layout was known by."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop a run."""
        return tuple(p for p in self.problems if p.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that a run can do without."""
        return tuple(p for p in self.problems if p.severity is Severity.WARNING)

    @property
    def usable(self) -> bool:
        """True when nothing in the report stops a run."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values, every problem included; paths are relative to the root."""
        return {
            "product": self.product,
            "label": self.label or self.product,
            "root": str(self.root),
            "layout": self.layout,
            "layout_signs": self.signs,
            "size": self.size,
            "fit": self.fit,
            "latent_size": self.latent_size,
            "usable": self.usable,
            "normals": _counts_dict(self.normals),
            "defects": [_counts_dict(counts) for counts in self.defects],
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "problems": [
                {
                    "severity": p.severity.value,
                    "kind": p.kind.value,
                    "path": printable(self._relative(p.path)) or None,
                    "message": printable(p.message),
                }
                for p in self.problems
            ],
            "notes": list(self.notes),
            "sizes": [size.to_dict() for size in self.sizes],
            "pictures": dict(self.pictures),
        }

    def to_text(self) -> str:
        """Return the report as plain text: a table of counts, then errors and warnings grouped by kind."""
        lines = [
            f"Product {_called(self.product, self.label)}: {self.root} ({self.layout} layout: {self.signs})",
            f"Images are fitted to {self.size} x {self.size} pixels ({self.fit}), "
            f"latents {self.latent_size} x {self.latent_size}.",
            "",
            *self._table(),
        ]
        if self.sizes:
            names = {counts.label: counts.name for counts in self.defects}
            lines += ["", f"Defects at {self.size} x {self.size}:"]
            lines += [f"  {names.get(size.label, size.label)}: {size.to_text()}" for size in self.sizes]
        if self.notes:
            lines += ["", *(f"Note: {note}" for note in self.notes)]
        for title, problems in (("Errors", self.errors), ("Warnings", self.warnings)):
            if problems:
                lines += ["", f"{title} ({len(problems)})", *self._grouped(problems)]
        lines += ["", self._verdict()]
        return printable("\n".join(lines), keep="\n")

    def warning_lines(self) -> list[str]:
        """The warnings in short: one line for each kind, with its first case."""
        groups: dict[str, list[Problem]] = {}
        for problem in self.warnings:
            groups.setdefault(problem.kind.value, []).append(problem)
        lines = []
        for kind, problems in groups.items():
            first, many = problems[0], f" ({len(problems)})" if len(problems) > 1 else ""
            where = f"{first.path.name}: " if first.path is not None else ""
            lines.append(printable(f"warning: {kind}{many}: {where}{first.message}"))
        return lines

    def _table(self) -> list[str]:
        rows = [self.normals, *self.defects]
        names = [_called(c.name, shown_label(c.label)) for c in rows]
        width = max(12, *(len(name) for name in names))
        lines = [f"  {'':{width}}  found  train   test  unused  left out"]
        for name, c in zip(names, rows, strict=True):
            lines.append(
                f"  {name:{width}}  {c.found:5}  {c.train:5}  {c.test:5}  {c.unused:6}  {c.left_out:8}"
            )
        return lines

    def _grouped(self, problems: Iterable[Problem]) -> list[str]:
        groups: dict[Kind, list[Problem]] = {}
        for problem in problems:
            groups.setdefault(problem.kind, []).append(problem)
        lines = []
        for kind, group in groups.items():
            lines.append(f"  {kind.value} ({len(group)})")
            for problem in group[:LINES_PER_KIND]:
                where = self._relative(problem.path)
                lines.append(f"    {where}: {problem.message}" if where else f"    {problem.message}")
            if len(group) > LINES_PER_KIND:
                lines.append(f"    ... and {len(group) - LINES_PER_KIND} more")
        return lines

    def _relative(self, path: Path | None) -> str:
        if path is None:
            return ""
        try:
            relative = path.relative_to(self.root).as_posix()
        except ValueError:
            return str(path)
        return "" if relative == "." else relative

    def _verdict(self) -> str:
        warnings = _plural(len(self.warnings), "warning")
        if self.usable:
            return f"Usable, with {warnings}." if self.warnings else "Usable, nothing wrong found."
        return f"Cannot be used: {_plural(len(self.errors), 'error')}, {warnings}."


def _called(name: str, label: str) -> str:
    return name if label in ("", name) else f"{name} ({label!r})"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counts_dict(counts: Counts) -> dict[str, Any]:
    return {
        "name": counts.name,
        "label": counts.label,
        "found": counts.found,
        "train": counts.train,
        "test": counts.test,
        "unused": counts.unused,
        "left_out": counts.left_out,
    }
