"""Problems of a product's files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path


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
