"""Draws what a placed pair starts from: a photograph, a placement on it, and the region around that."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from seas_runtime.bundle.placement.placing import open_placer
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.placing.backgrounds import Backgrounds, Given
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.blending.inputs import REGIONS
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.placed.normals import Normals
from seas_runtime.methods.request import PairRequest
from seas_runtime.photographs.reading import Photograph
from seas_runtime.photographs.values import Values
from seas_runtime.placement.appearance.contrast import Contrast
from seas_runtime.placement.options import PlacementOptions
from seas_runtime.placement.regions import DRAWN_RATIO, Placed, Region, region_around

logger = logging.getLogger(__name__)

_TRIES = 20
"""Photographs and placements: where pictures are cut to a square, a placement may lie outside of it."""
_NAMED = 3
"""Of one folder's photographs that are unlike the training normals so many are named."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """What one attempt at a placed pair draws into."""

    photograph: Photograph
    placed: Placed
    region: Region
    contrasts: tuple[Contrast, ...]
    """Of the defect's shapes: one of them is drawn from. None of a normal, and where they are not known."""
    choice: float
    """Which of them, from 0 to below 1."""
    origin: Mapping[str, Any]
    """For the record, as JSON values: photograph and its hash, region, placement."""


class Drawer:
    """Draws photographs, placements and regions for one bundle; safe for several threads.

    Raises UserError for a table of shapes that is none.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._schema, self._size = manifest.schema, manifest.image.height
        self._values = Values.of(manifest.preprocessing)
        self._fit = str(manifest.preprocessing.get("fit", "crop"))
        self._regions = bool(manifest.generation.get(REGIONS, False))
        self._shapes = bundle.shapes
        self._normals = Normals.of(manifest.generation)
        self._looked_at: set[str] = set()
        self._unlike: Counter[str] = Counter()
        self._placer = lru_cache(maxsize=4)(partial(open_placer, bundle))

    def draw(self, photographs: Backgrounds | Given, pair: PairRequest, attempt: int) -> Drawing:
        """Draw one attempt: it follows from the seed, the pair's index, its defect and the attempt alone.

        With `per_background` pairs in a row share photograph and placement, in all of their attempts.
        Raises UserError where no placement fits, and says why.
        """
        request = pair.request
        assert request.placing is not None
        noise = PairNoise(request.seed, pair.index, attempt, request.defect, self._schema)
        random = noise.generator(Stream.PLACEMENT)
        shared = request.placing.placement.per_background
        alone: int | None = None
        if shared is not None:
            placements, pairs = shared
            photographed = replace(noise, index=pair.index // (placements * pairs), attempt=0)
            alone = int(photographed.generator(Stream.PLACEMENT, 1).integers(len(photographs)))
            random = replace(noise, index=pair.index // pairs, attempt=0).generator(Stream.PLACEMENT)
        for _ in range(_TRIES):
            photograph = photographs[int(random.integers(len(photographs))) if alone is None else alone]
            self._look_at(photograph, photographs)
            placed = self._place(random, photographs, photograph, request.defect, request.placing.placement)
            size = photograph.height, photograph.width
            region = self._region(random, placed, size)
            if region.cut_mask(placed).sum() == placed.mask.sum():
                return Drawing(
                    photograph,
                    placed,
                    region,
                    self._contrasts(request.defect),
                    float(random.random()),
                    _origin(photograph, placed, region),
                )
        raise UserError(
            f"placement: found no place for {request.defect!r} inside the square that is cut out of "
            f"{photographs.where} (--fit crop); train again with --fit pad or --regions on, or give an area"
        )

    def _look_at(self, photograph: Photograph, photographs: Backgrounds | Given) -> None:
        """Warn once of a photograph that is unlike the training normals; of a folder's no more than a few."""
        if self._normals is None or photograph.sha256 in self._looked_at:
            return
        self._looked_at.add(photograph.sha256)
        if objection := self._normals.objection(photograph, self._values):
            source = photograph.sha256 if isinstance(photographs, Given) else photographs.where
            self._unlike[source] += 1
            if self._unlike[source] <= _NAMED:
                logger.warning(
                    "%s: unlike the normals that this bundle was trained on: %s%s",
                    photograph.name,
                    objection,
                    "; further ones are not named" if self._unlike[source] == _NAMED else "",
                )

    def _place(
        self,
        random: np.random.Generator,
        photographs: Backgrounds | Given,
        photograph: Photograph,
        defect: str,
        options: PlacementOptions,
    ) -> Placed:
        if isinstance(photographs, Given) and photographs.placed is not None:
            return photographs.placed
        rgb = self._values.to_rgb8(photograph.pixels, photograph.opaque)
        try:
            return self._placer(options).draw(random, self._shape_of(random, defect), rgb)
        except UserError as error:
            raise UserError(f"{photographs.where}: {photograph.name}: {error}") from None

    def _contrasts(self, defect: str) -> tuple[Contrast, ...]:
        """Return what a defect is drawn from; a name of one's own is drawn from any defect's."""
        if defect == GOOD:
            return ()
        owners = [defect] if defect in self._shapes else [*self._shapes]
        found = (shape.contrast for owner in owners for shape in self._shapes[owner])
        return tuple(contrast for contrast in found if contrast is not None)

    def _shape_of(self, random: np.random.Generator, defect: str) -> str:
        """Return whose shapes are drawn: for normals, and names of one's own, those of any defect."""
        known = [name for name in self._shapes if self._shapes[name]]
        if defect in known or not known:
            return defect
        return known[int(random.integers(len(known)))]

    def _region(self, random: np.random.Generator, placed: Placed, size: tuple[int, int]) -> Region:
        """Return the window around a placement, or all that the base sees of a photograph."""
        if self._regions:
            return region_around(random, placed, size, self._size, DRAWN_RATIO)
        height, width = size
        side = min(size) if self._fit == "crop" else max(size)
        return Region((width - side) // 2, (height - side) // 2, side)


def _origin(photograph: Photograph, placed: Placed, region: Region) -> dict[str, Any]:
    top, left, bottom, right = placed.box
    return {
        "photograph": photograph.name,
        "photograph_sha256": photograph.sha256,
        "region": [region.left, region.top, region.side],
        "placement": {
            "left": left,
            "top": top,
            "width": right - left,
            "height": bottom - top,
            "area": int(np.count_nonzero(placed.mask)),
        },
    }
