"""Opens what draws placements for a bundle: its shapes, and whether its photographs show a background."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seas_runtime.bundle.placement.backgrounds import Backgrounds
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.contract import Tables
from seas_runtime.photographs.values import Values
from seas_runtime.placement.draw import Placer
from seas_runtime.placement.masks.shapes import TABLE, Shape, has_background
from seas_runtime.placement.options import PlacementOptions
from seas_runtime.placement.where.foreground import LOOKED_AT, shows_background


class Carrier(Protocol):
    """A bundle, as far as placements need it."""

    @property
    def manifest(self) -> Manifest:
        """What it says about itself."""
        ...

    @property
    def tables(self) -> Tables:
        """Its tensors."""
        ...

    @property
    def shapes(self) -> Mapping[str, Sequence[Shape]]:
        """The shapes of training masks by defect."""
        ...

    @property
    def backgrounds(self) -> Backgrounds:
        """The photographs that it carries."""
        ...


def open_placer(
    bundle: Carrier, options: PlacementOptions, photographs: Iterable[npt.NDArray[np.uint8]] = ()
) -> Placer:
    """Return what draws placements; UserError for a file of the options that cannot be used.

    Whether the product has a background is told by the bundle, else by the photographs that it carries, else
    by these [H, W, 3] in its values.
    """
    known = has_background(bundle.tables.get(TABLE, {}))
    if known is None and len(bundle.backgrounds):
        values = Values.of(bundle.manifest.preprocessing)
        own = (bundle.backgrounds[index] for index in range(min(LOOKED_AT, len(bundle.backgrounds))))
        known = shows_background(values.to_rgb8(photograph.pixels, photograph.opaque) for photograph in own)
    return Placer(bundle.shapes, options, shows_background(photographs) if known is None else known)
