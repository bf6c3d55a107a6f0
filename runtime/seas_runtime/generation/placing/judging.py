"""What is wrong with a placed pair, and how near it is to the product's real defects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.loop import Attempted
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods import gates
from seas_runtime.methods.request import PlacedInputs
from seas_runtime.placement.morphology import grow

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found in a region, at the bundle's size."""

    mask: npt.NDArray[np.bool_]  # [S, S]
    probability: npt.NDArray[np.float32] | None  # [S, S]
    reason: str | None
    """Why it is rejected."""
    score: float | None
    """0 to 1; None where the bundle has no features of real defects."""


class Judge:
    """Judges regions by what a bundle knows of its product's real defects."""

    def __init__(self, bundle: Bundle) -> None:
        self._cell = bundle.manifest.image.height // bundle.manifest.latent.height
        self.observed: tuple[str, ...] = ()

    def judge(
        self,
        defect: str,
        asked: PlacedInputs,
        made: Attempted,
        position: int,
        before: UInt8Array,
        after: UInt8Array,
        feather: npt.NDArray[np.float32],
    ) -> Judged:
        """Judge the pair at `position` of a batch.

        before, after: the region [side, side, 3] without and with what was drawn. feather: [side, side].
        """
        probability = None if made.masks.probabilities is None else made.masks.probabilities[position]
        mask = made.masks.masks[position] & grow(asked.mask, 3 * self._cell)
        reason = gates.rejection(made.latents[position], probability, mask, defect == GOOD)
        return Judged(mask, probability, reason, None)
