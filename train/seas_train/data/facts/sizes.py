"""How large a product's defects become at the base's image size: whether they can be learned at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DefectSize:
    """Areas of one defect's masks after fitting to [size, size], in pixels."""

    label: str
    smallest: float
    median: float
    below_cell: int
    """Masks of less than a latent cell's area."""
    pairs: int
    smallest_mask: Path
    cell: int
    """Pixels of one latent cell."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; areas also in latent cells."""
        return {
            "label": self.label,
            "smallest": round(self.smallest, 1),
            "median": round(self.median, 1),
            "smallest_cells": round(self.smallest / self.cell, 2),
            "median_cells": round(self.median / self.cell, 2),
            "below_cell": self.below_cell,
        }

    def to_text(self) -> str:
        """Return `smallest 6 px (0.1 cells), median 41 px (0.6)`."""
        smallest, median = self.smallest / self.cell, self.median / self.cell
        return (
            f"smallest {_number(self.smallest)} px ({_number(smallest)} latent cells), "
            f"median {_number(self.median)} px ({_number(median)})"
        )

    def needed_side(self, size: int, latent_factor: int) -> int:
        """Return the image size at which the median covers a latent cell."""
        side = size * math.sqrt(self.cell / max(self.median, 1e-9))
        return math.ceil(side / latent_factor) * latent_factor


def defect_size(label: str, areas: Mapping[Path, float], latent_factor: int) -> DefectSize:
    """Measure a defect by its masks' areas after fitting, in pixels; at least one."""
    values, cell = np.array(list(areas.values())), latent_factor**2
    smallest = min(areas, key=lambda mask: areas[mask])
    below = int((values < cell).sum())
    return DefectSize(label, float(values.min()), float(np.median(values)), below, len(areas), smallest, cell)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
