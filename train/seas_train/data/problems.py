"""Problems of a product's files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

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


def grouped(problems: Iterable[Problem], root: Path) -> list[str]:
    """Return problems as lines under their kinds' headings, the first few of each; paths from `root` on."""
    groups: dict[Kind, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.kind, []).append(problem)
    lines = []
    for kind, group in groups.items():
        lines.append(f"  {kind.value} ({len(group)})")
        for problem in group[:LINES_PER_KIND]:
            where = relative_path(problem.path, root)
            lines.append(f"    {where}: {problem.message}" if where else f"    {problem.message}")
        if len(group) > LINES_PER_KIND:
            lines.append(f"    ... and {len(group) - LINES_PER_KIND} more")
    return lines


def relative_path(path: Path | None, root: Path) -> str:
    """Return a path as it is shown: from `root` on where it lies in there, empty for none and for `root`."""
    if path is None:
        return ""
    try:
        relative = path.relative_to(root).as_posix()
    except ValueError:
        return str(path)
    return "" if relative == "." else relative
