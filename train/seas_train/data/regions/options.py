"""Whether a product is trained on regions, and on which."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from seas_runtime.placement.regions import RATIO

JUDGED_RATIO = 3.0
"""Side of a region that masks are judged on, in sides of the defect's box."""


class Regions(str, Enum):
    """Whether a product is trained on regions of its photographs instead of whole pictures."""

    AUTO = "auto"
    """Where its defects would be too small at the base's size, or its photographs are much larger."""
    ON = "on"
    OFF = "off"

    @classmethod
    def _missing_(cls, value: object) -> Regions | None:
        """YAML 1.1 reads on and off as true and false."""
        return {True: cls.ON, False: cls.OFF}[value] if isinstance(value, bool) else None


@dataclass(frozen=True)
class RegionOptions:
    """The regions that a product is trained on."""

    per_pair: int = 6
    """Of each training pair."""
    per_normal: int = 4
    """Of each training normal."""
    ratio: tuple[float, float] = RATIO
    """Bounds of a region's side, in longest sides of the defect's box."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "per_pair": self.per_pair,
            "per_normal": self.per_normal,
            "ratio": list(self.ratio),
        }
