"""The bounds that a placed pair's gates compare with: measured at export, of one defect each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from seas_runtime.manifest.fields import Fields, describe

GATES = "gates"
"""The key of a manifest's section `generation` that holds bounds by defect."""
MOST_DEFECTS = 1000
LEVELS = 255.0
"""The most that two pictures can differ by, in grey levels of 0 to 255."""


@dataclass(frozen=True)
class PlacedBounds:
    """The bounds for pairs of one defect; the defaults are those of a bundle that measured none."""

    change: float = 3.0
    """The least mean change inside the placement, in grey levels: below, nothing was drawn."""
    iou: float = 0.2
    """The least intersection over union of the refined mask and the placement, 0 to 1."""
    seam: float = 8.0
    """By how many grey levels more than the photograph does the picture may step at the feather."""

    @classmethod
    def of(cls, generation: Mapping[str, Any], defect: str) -> PlacedBounds:
        """Return the bounds of `defect` in a section `generation` that `check_gates` let pass."""
        found = generation.get(GATES) or {}
        return cls(**{name: value for name, value in found.get(defect, {}).items() if value is not None})

    def to_dict(self) -> dict[str, float]:
        """Return the bounds as JSON values."""
        return asdict(self)


def check_gates(generation: Fields) -> None:
    """Refuse, by a UserError, bounds in a section `generation` that are no numbers in their range."""
    if not generation.has(GATES):
        return
    by_defect = generation.mapping(GATES, MOST_DEFECTS)
    for defect, value in by_defect.items():
        bounds = Fields(value, f"{generation.where}.{GATES}[{describe(defect)}]")
        for field in fields(PlacedBounds):
            if bounds.has(field.name):
                bounds.number(field.name, 0.0, 1.0 if field.name == "iou" else LEVELS)
        bounds.close()
