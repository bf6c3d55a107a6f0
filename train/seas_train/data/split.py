"""The split of a product's photographs into training and test, as in the SeaS paper, and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from seas_train.data.images import AutoFit, Fit, Masks, Resize, Window
from seas_train.data.layouts import Layout
from seas_train.data.regions.options import RegionOptions, Regions
from seas_train.settings import Count, Settings, require

T = TypeVar("T")


@dataclass(frozen=True)
class PhotographsConfig(Settings):
    """Options of reading and splitting a product's photographs."""

    layout: Layout | None = None
    """None detects it."""
    fit: Fit | AutoFit = AutoFit.AUTO
    window: Window | tuple[float, float] = Window.AUTO
    """The values of the files that become black and white; see Preprocessing.window."""
    masks: Masks = Masks.AUTO
    """How masks are read."""
    resize: Resize | None = None
    """How pictures are scaled; None for sharp, or as the rules want it that are reproduced."""
    shots: Count | None = None
    """Training pairs of each defect; None for the first third."""
    normals: Count = 60
    """Training normals at most (SeaS paper, section 4.1)."""
    defects: tuple[str, ...] | None = None
    """Names or labels of the defects to use; None for all."""
    regions: Regions = Regions.AUTO
    """Whether regions are trained on instead of whole pictures."""
    regions_per_pair: Count = RegionOptions.per_pair
    regions_per_normal: Count = RegionOptions.per_normal
    region_ratio: tuple[float, float] = RegionOptions.ratio
    """Bounds of a region's side, in longest sides of the defect's box."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.region_ratio
        require(
            1 <= low <= high <= 100, "region_ratio", "two numbers of 1 to 100 in their order", [low, high]
        )

    @property
    def region_options(self) -> RegionOptions:
        """The regions, if it is regions."""
        return RegionOptions(self.regions_per_pair, self.regions_per_normal, self.region_ratio)


def regions_of(described: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of `PhotographsConfig` that give the regions that a checkpoint was trained on.

    described: `regions` of its description; None where it was trained on whole pictures.
    """
    if described is None:
        return {"regions": Regions.OFF}
    return {
        "regions": Regions.ON,
        "regions_per_pair": described["per_pair"],
        "regions_per_normal": described["per_normal"],
        "region_ratio": tuple(described["ratio"]),
    }


def training_pairs(pairs: int, shots: int | None) -> int:
    """Return how many of a defect's pairs train: a third, rounded down but at least one, or `shots`.

    The third is the SeaS authors' (paper, section 4.1; their code: `max(int(n / 3), 1)`).
    """
    wanted = max(1, pairs // 3) if shots is None else shots
    return min(pairs, wanted)


def divide(items: Sequence[T], count: int) -> tuple[tuple[T, ...], tuple[T, ...]]:
    """Return the first `count` items and the rest."""
    return tuple(items[:count]), tuple(items[count:])
