"""What is wrong with a placed pair, and how near it is to the product's real defects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.loop import Attempted
from seas_runtime.generation.placing.mask_reader import Read
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods import gates
from seas_runtime.methods.blending.inputs import BACKGROUND
from seas_runtime.methods.placed.bounds import PlacedBounds
from seas_runtime.methods.placed.gates import as_pasted, iou, refine, rejection_placed
from seas_runtime.methods.placed.score import FEATURES, pair_score
from seas_runtime.methods.request import PLACED, PairRequest, PlacedInputs
from seas_runtime.placement.options import BOXES

AGREED = 0.75
"""Intersection over union with the placement from which on the mask head is believed where a real defect's
look was laid: of thin cracks a head finds blots, or nothing. Independent judges of the sample product's pairs
agree more with the placement (IoU 0.82, 0.87) than with the head (0.75, 0.84) where these two agree less."""
TAP = "tap_coarse"
"""The output of the last step that features are of."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found in a region, at the bundle's size."""

    mask: npt.NDArray[np.bool_]
    """[S, S]: the mask head's within the placement, or the placement where there is none."""
    measured: bool
    """Whether the mask head gave it."""
    probability: npt.NDArray[np.float32] | None  # [S, S]
    reason: str | None
    """Why it is rejected."""
    score: float | None
    """0 to 1; None where the bundle has no features of such defects."""


def started_from(asked: PlacedInputs, made: Attempted) -> npt.NDArray[np.uint8]:
    """Return the window [S, S, 3] that the first step had: the photograph's, or with a real defect's look."""
    used = BACKGROUND in made.inputs.first_images and asked.start is not None
    return asked.start if used and asked.start is not None else asked.window


class Judge:
    """Judges regions by what a bundle knows of its product's real defects."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._generation = manifest.generation
        self._cell = manifest.image.height // manifest.latent.height
        self._real = bundle.tables.get(FEATURES, {})
        self.observed = (TAP,) if self._real else ()

    def judge(
        self,
        pair: PairRequest,
        asked: PlacedInputs,
        made: Attempted,
        position: int,
        feather: npt.NDArray[np.float32],
        drawn: npt.NDArray[np.uint8],
        read: Read | None = None,
    ) -> Judged:
        """Judge the pair at `position` of a batch; `feather` [side, side] is the share of `drawn` [S, S, 3],
        `read` what another bundle's head found."""
        defect, latents = pair.request.defect, made.latents[position]
        probability = None if made.masks.probabilities is None else made.masks.probabilities[position]
        found = made.masks.masks[position]
        if read is not None:
            found, probability = read.mask, read.probability
        placing, mask = pair.request.placing, asked.mask
        measured = probability is not None and placing is not None and placing.mask != PLACED
        if measured:
            mask = refine(found, asked.mask, self._cell)
        if defect == GOOD:
            return Judged(
                mask,
                measured,
                probability,
                gates.rejection(latents, probability, mask & measured, True),
                None,
            )
        bounds, start = PlacedBounds.of(self._generation, defect), started_from(asked, made)
        if read is not None and placing is not None and placing.placement.source == BOXES:
            bounds = replace(bounds, iou=0.0)  # a box says where a defect lies, not how much of it is one
        if measured and start is not asked.window and iou(mask, asked.mask) < AGREED:
            # What was laid there is known to lie there: the head found another thing, or too little.
            mask, measured = asked.mask, False
        side = asked.mask.shape[0]
        weights = np.asarray(Image.fromarray(feather).resize((side, side), Image.Resampling.BILINEAR))
        reason = rejection_placed(
            asked.window,
            as_pasted(start, drawn, made.rebuilt[BACKGROUND][position]),
            asked.mask,
            mask,
            latents,
            probability,
            bounds,
            weights,
        )
        scored = pair_score(self._real, defect, made.observed[TAP][position], mask) if self._real else None
        return Judged(mask, measured, probability, reason, scored)
