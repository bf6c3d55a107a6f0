"""The report on a product: what its folder holds, how it is read, and its problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seas_runtime.printable import printable
from seas_train.data.facts.sizes import DefectSize
from seas_train.data.names import shown_label
from seas_train.data.problems import Problem, Severity, grouped, relative_path


@dataclass(frozen=True)
class RegionsFound:
    """Whether a product is trained on regions."""

    on: bool
    why: str
    sizes: tuple[DefectSize, ...] = ()
    """Of each defect's smallest parts in the regions that masks are judged on."""
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        sizes = [size.to_dict() for size in self.sizes]
        return {"on": self.on, "why": self.why, "options": dict(self.options), "sizes": sizes}


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
    regions: RegionsFound = RegionsFound(False, "")
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
                    "path": printable(relative_path(p.path, self.root)) or None,
                    "message": printable(p.message),
                }
                for p in self.problems
            ],
            "notes": list(self.notes),
            "sizes": [size.to_dict() for size in self.sizes],
            "pictures": dict(self.pictures),
            "regions": self.regions.to_dict(),
        }

    def to_text(self) -> str:
        """Return the report as plain text: a table of counts, then errors and warnings grouped by kind."""
        lines = [
            f"Product {_called(self.product, self.label)}: {self.root} ({self.layout} layout: {self.signs})",
            f"Images are fitted to {self.size} x {self.size} pixels ({self.fit}), "
            f"latents {self.latent_size} x {self.latent_size}.",
            self.regions_line(),
            "",
            *self._table(),
            *self._sizes(f"Defects at {self.size} x {self.size}:", self.sizes),
        ]
        if self.regions.on:
            title = f"Their smallest parts in regions of 3 times the box, at {self.size} x {self.size}:"
            lines += self._sizes(title, self.regions.sizes)
        if self.notes:
            lines += ["", *(f"Note: {note}" for note in self.notes)]
        for title, problems in (("Errors", self.errors), ("Warnings", self.warnings)):
            if problems:
                lines += ["", f"{title} ({len(problems)})", *grouped(problems, self.root)]
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

    def regions_line(self) -> str:
        """Whether regions are trained on, and why."""
        what = "Trained on regions" if self.regions.on else "Trained on whole pictures"
        return f"{what}: {self.regions.why}."

    def _sizes(self, title: str, sizes: Iterable[DefectSize]) -> list[str]:
        names = {counts.label: counts.name for counts in self.defects}
        rows = [f"  {names.get(size.label, size.label)}: {size.to_text()}" for size in sizes]
        return ["", title, *rows] if rows else []

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
