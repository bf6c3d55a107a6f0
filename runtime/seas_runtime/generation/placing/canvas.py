"""A photograph, what is drawn into its region, and how that comes back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from seas_runtime.generation.loop import Attempted
from seas_runtime.generation.placing.drawing import Drawing
from seas_runtime.generation.placing.judging import Judge, started_from
from seas_runtime.generation.placing.mask_reader import Read
from seas_runtime.generation.records import Outcome, Times
from seas_runtime.manifest.types import GOOD, Manifest
from seas_runtime.methods.blending.inputs import BACKGROUND
from seas_runtime.methods.placed.tone import keep_tone
from seas_runtime.methods.request import PLACED, POISSON, REFINED, PairRequest, PlacedInputs
from seas_runtime.methods.table import find_method
from seas_runtime.photographs.values import Pixels, Values
from seas_runtime.placement.appearance.contrast import grain_around, with_contrast
from seas_runtime.placement.appearance.looks import lay_look
from seas_runtime.placement.appearance.surface import is_wide
from seas_runtime.placement.blending import blend
from seas_runtime.placement.options import BOXES
from seas_runtime.placement.regions import resize_mask, resize_pixels, scale_mask

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pasted:
    """A photograph that a defect was pasted into."""

    pixels: Pixels
    feather: npt.NDArray[np.float32]
    """[side, side] of its region: the share of what was drawn."""
    drawn: npt.NDArray[np.uint8]
    """[S, S, 3] of its region as the model sees it: what was drawn, in the tone of what was laid."""


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
        self._draws = pair.request.defect != GOOD or find_method(manifest.method).draws_normals
        self._values, side = Values.of(manifest.preprocessing), manifest.image.height
        photograph = drawing.photograph
        self._window = self._values.to_rgb8(drawing.region.cut(photograph.pixels), photograph.opaque)
        """The region [side, side, 3] as 8-bit RGB."""
        self._laid = self._lay()
        window = resize_pixels(self._window, side)
        mask = resize_mask(drawing.region.cut_mask(drawing.placed), side)
        start = None if self._laid is None else resize_pixels(self._laid, side)
        self._asked = PlacedInputs(window, mask, start)
        self.request = replace(pair, placed=self._asked, observed=judge.observed)
        """What the loop is asked for."""

    def paste(self, made: Attempted, position: int) -> Pasted:
        """Paste what the loop made, at `position` of its batch, into the photograph."""
        drawing, photograph = self._drawing, self._drawing.photograph
        drawn = kept = made.images[position]
        rebuilt, start = made.rebuilt[BACKGROUND][position], started_from(self._asked, made)
        if self._laid is not None and start is self._asked.start:
            kept = keep_tone(self._asked.window, start, drawn, rebuilt, self._asked.mask)
            # What the U-Net changed goes onto what was laid, at the photograph's own resolution.
            sizes = (resize_pixels(image, drawing.region.side).astype(np.int16) for image in (kept, rebuilt))
            drawn = np.clip(self._laid + np.subtract(*sizes), 0, 255).astype(np.uint8)
            rebuilt = self._window
        pixels, feather = blend(
            self._placing.blend == POISSON,
            photograph.pixels,
            drawing.region,
            drawn,
            self._asked.mask,
            self._values,
            photograph.opaque,
            rebuilt,
        )
        return Pasted(pixels if self._draws else photograph.pixels.copy(), feather, kept)

    def finished(self, pasted: Pasted) -> npt.NDArray[np.uint8]:
        """Return the region [S, S, 3] as the model sees it once the defect is in it."""
        region, opaque = self._drawing.region.cut(pasted.pixels), self._drawing.photograph.opaque
        return resize_pixels(self._values.to_rgb8(region, opaque), self._asked.mask.shape[0])

    def outcome(
        self, made: Attempted, position: int, pasted: Pasted, read: Read | None, times: Times
    ) -> Outcome:
        """Judge what was pasted, by what another bundle read of it where one did."""
        found = self._judge.judge(self._pair, self._asked, made, position, pasted.feather, pasted.drawn, read)
        reader = {} if read is None or not found.measured else {"mask_from": read.bundle}
        return Outcome(
            image=pasted.pixels,
            mask=self._mask(pasted.pixels, found.mask if found.measured else None),
            probability=found.probability,
            rejected=found.reason if self._pair.request.sampling.gate else None,
            origin={**self._drawing.origin, "mask": REFINED if found.measured else PLACED, **reader},
            times=times,
            region=self._drawing.region,
            score=found.score,
            weak=not found.measured
            and self._placing.placement.source == BOXES
            and self._pair.request.defect != GOOD,
        )

    def _lay(self) -> npt.NDArray[np.uint8] | None:
        """Return the region [side, side, 3] with the look of a real defect in the placement, or its contrast;
        None of a normal, and where neither is known."""
        drawing = self._drawing
        region, placed, known = drawing.region, drawing.placed, drawing.contrasts
        if not known:
            return None
        mask = region.cut_mask(placed)
        if placed.look is None:
            return with_contrast(self._window, mask, known, drawing.choice)
        place = placed.top - region.top, placed.left - region.left
        size = drawing.photograph.pixels.shape[:2]
        top, left, bottom, right = region.inside(size)  # beyond the photograph is no grain
        grain = grain_around(self._window[top:bottom, left:right], mask[top:bottom, left:right])
        wide = is_wide(placed.box, size)
        return lay_look(self._window, mask, placed.look, place, wide=wide, grain=grain)

    def _mask(self, pixels: Pixels, refined: BoolArray | None) -> BoolArray:
        """Return the photograph's mask [H, W]: what was found, or what was asked for; of a normal nothing."""
        size, region, placed = pixels.shape[:2], self._drawing.region, self._drawing.placed
        if refined is None:
            return placed.full(size) & (self._pair.request.defect != GOOD)
        mask = np.zeros(size, np.bool_)
        top, left, bottom, right = region.inside(size)
        mask[region.on(size)] = scale_mask(refined, (region.side, region.side))[top:bottom, left:right]
        return mask
