"""A photograph, what is drawn into its region, and how that comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from seas_runtime.generation.loop import Attempted
from seas_runtime.generation.placing.drawing import Drawing
from seas_runtime.generation.placing.judging import Judge
from seas_runtime.generation.records import Outcome
from seas_runtime.manifest.types import GOOD, Manifest
from seas_runtime.methods.blending.inputs import BACKGROUND
from seas_runtime.methods.request import POISSON, PairRequest, PlacedInputs
from seas_runtime.photographs.values import Pixels, Values
from seas_runtime.placement.blending import blend
from seas_runtime.placement.contrast import with_contrast
from seas_runtime.placement.regions import resize_mask, resize_pixels, scale_mask

BoolArray = npt.NDArray[np.bool_]


class Canvas:
    """One attempt at a placed pair.

    Args:
        pair: which one.
        drawing: what is drawn, and into which photograph.
        manifest: of the bundle.
        judge: says what is wrong with it, and scores it.
    """

    def __init__(self, pair: PairRequest, drawing: Drawing, manifest: Manifest, judge: Judge) -> None:
        assert pair.request.placing is not None
        self._pair, self._drawing, self._judge = pair, drawing, judge
        self._placing = pair.request.placing
        self._values, side = Values.of(manifest.preprocessing), manifest.image.height
        window = resize_pixels(self._window(drawing.photograph.pixels), side)
        mask = resize_mask(drawing.region.cut_mask(drawing.placed), side)
        known = drawing.contrasts
        start = with_contrast(window, mask, known, drawing.choice) if known else None
        self._asked = PlacedInputs(window, mask, start)
        self.request = replace(pair, placed=self._asked, observed=judge.observed)
        """What the loop is asked for."""

    def outcome(self, made: Attempted, position: int) -> Outcome:
        """Paste what the loop made, at `position` of its batch, into the photograph, and judge it."""
        drawing, photograph = self._drawing, self._drawing.photograph
        pixels, feather = blend(
            self._placing.blend == POISSON,
            photograph.pixels,
            drawing.region,
            made.images[position],
            self._asked.mask,
            self._values,
            photograph.opaque,
            made.rebuilt[BACKGROUND][position],
        )
        found = self._judge.judge(self._pair, self._asked, made, position, feather)
        return Outcome(
            image=pixels,
            mask=self._mask(pixels, found.mask if found.measured else None),
            probability=found.probability,
            rejected=found.reason if self._pair.request.sampling.gate else None,
            origin=drawing.origin,
            times=made.times,
            region=drawing.region,
            score=found.score,
        )

    def _window(self, pixels: Pixels) -> npt.NDArray[np.uint8]:
        """Return the region [side, side, 3] as 8-bit RGB."""
        return self._values.to_rgb8(self._drawing.region.cut(pixels), self._drawing.photograph.opaque)

    def _mask(self, pixels: Pixels, refined: BoolArray | None) -> BoolArray:
        """Return the photograph's mask [H, W]: what was found, or what was asked for; of a normal nothing."""
        size, region, placed = pixels.shape[:2], self._drawing.region, self._drawing.placed
        if refined is None:
            return placed.full(size) & (self._pair.request.defect != GOOD)
        mask = np.zeros(size, np.bool_)
        top, left, bottom, right = region.inside(size)
        mask[region.on(size)] = scale_mask(refined, (region.side, region.side))[top:bottom, left:right]
        return mask
