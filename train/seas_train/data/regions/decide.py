"""Decides whether a product is trained on regions of its photographs, and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seas_runtime.placement.regions import region_around
from seas_train.data.regions.options import JUDGED_RATIO, Regions
from seas_train.data.regions.parts import Part

FEW_CELLS = 16
"""Latent cells of a defect's median area. Of less, 4 x 4, it is not one point of the coarser attention maps
that fine-tuning aligns with masks: a quarter of the latent's side."""
LARGER = 2.0
"""Photographs that are scaled down by more lose what their camera saw; and regions that do not show a defect
so much larger are not worth their seams."""


@dataclass(frozen=True)
class Decision:
    """Whether it is regions, and why."""

    on: bool
    why: str


def decide(
    wanted: Regions,
    medians: Mapping[str, float],
    gains: Mapping[str, float],
    scales: Sequence[float],
    cell: int,
) -> Decision:
    """Return whether a product is trained on regions.

    Args:
        wanted: what the configuration says; only `auto` looks at the rest.
        medians: of each defect, the median area of its masks on whole pictures, in pixels of the base.
        gains: of each defect, the median of how much larger a region of `JUDGED_RATIO` shows it.
        scales: of each photograph, by how much it is scaled to become a whole picture.
        cell: pixels of a latent cell.
    """
    if wanted is not Regions.AUTO:
        return Decision(wanted is Regions.ON, f"as asked for ({wanted.value})")
    small = {
        label: median / cell
        for label, median in medians.items()
        if median < FEW_CELLS * cell and gains[label] >= LARGER
    }
    if small:
        label = min(small, key=lambda name: small[name])
        return Decision(
            True,
            f"{label}'s median is {small[label]:.1f} latent cells on whole pictures, under {FEW_CELLS}, and "
            f"regions of {JUDGED_RATIO:.0f} times the box show it {gains[label]:.1f} times as large",
        )
    scale = float(np.median(scales)) if len(scales) else 1.0
    if scale * LARGER < 1 and gains:
        return Decision(
            True, f"the photographs are {1 / scale:.1f} times as large as whole pictures at the base's size"
        )
    return Decision(
        False,
        f"no defect is under {FEW_CELLS} latent cells and {LARGER:.0f} times as large in regions, and the "
        f"photographs are not over {LARGER:.0f} times as large as the base's pictures",
    )


def gain(parts: Sequence[Part], size: tuple[int, int], base_size: int, scale: float) -> float:
    """Return how much larger a region shows the smallest of a mask's parts than a whole picture.

    Args:
        parts: the mask's, at least one.
        size: width and height of the photograph.
        base_size: the side of the base's pictures.
        scale: by how much the photograph is scaled to become a whole picture.
    """
    return base_size / judged_side(smallest(parts), size, base_size) / scale


def smallest(parts: Sequence[Part]) -> Part:
    """The part of the fewest pixels."""
    return min(parts, key=lambda part: part.pixels)


def judged_side(part: Part, size: tuple[int, int], base_size: int) -> int:
    """The side of the region around a part that masks are judged on, in pixels of the photograph."""
    any_place = np.random.default_rng(0)
    ratio = (JUDGED_RATIO, JUDGED_RATIO)
    return region_around(any_place, part.box, (size[1], size[0]), base_size, ratio).side
