"""Masks that a bundle's mask model generates, in place of training masks made anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.backends.contract import Backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.records import MAX_RETRIES
from seas_runtime.generation.resolve import find_defect, resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.fields import listed
from seas_runtime.methods.contract import MaskModel
from seas_runtime.methods.request import PairRequest, Request
from seas_runtime.methods.table import find_method


@dataclass(frozen=True, eq=False)
class GeneratedMask:
    """A mask, and how often it was tried."""

    defect: str
    index: int
    mask: npt.NDArray[np.bool_]  # [S, S]
    attempts: int
    rejected: str | None
    """Why the last attempt was rejected; None where it passed."""


class MaskGenerator:
    """Generates masks from one bundle on one backend.

    Raises UserError for a bundle without a mask model.
    """

    def __init__(self, bundle: Bundle, backend: Backend[Any]) -> None:
        model = find_method(bundle.manifest.method).mask_model
        if model is None or not model.defects(bundle):
            raise UserError(
                f"{bundle.path}: this bundle generates no masks: "
                + (
                    f"method {bundle.manifest.method} has no mask model"
                    if model is None
                    else "it was trained without a mask model (masks.steps 0)"
                )
                + "; use training masks, --placement-source shapes, or a folder of masks"
            )
        self.model: MaskModel = model
        self.bundle = bundle
        self._loop = Loop(bundle, backend, Sessions(bundle, backend))

    @property
    def scale(self) -> float:
        """Pixels of the product's photographs to one of a mask's."""
        return self.model.scale(self.bundle)

    def generate(self, wanted: str, count: int, seed: int = 0, *, batch: int = 4) -> Iterator[GeneratedMask]:
        """Yield masks 0 to `count` - 1 of a defect; a rejected one is tried again, at most 3 times.

        Raises UserError for a defect whose masks were not learned.
        """
        known = self.model.defects(self.bundle)
        defect = find_defect(self.bundle.manifest, wanted)
        if defect not in known:
            raise UserError(f"masks: expected one of {listed(known)}, found {wanted!r}")
        request = resolve(Request(defect, seed, self.model.sampling), self.bundle)
        for first in range(0, count, batch):
            yield from self._batch(request, range(first, min(first + batch, count)))

    def _batch(self, request: Request, indices: range) -> list[GeneratedMask]:
        done: dict[int, GeneratedMask] = {}
        waiting = list(indices)
        for attempt in range(MAX_RETRIES + 1):
            pairs = [PairRequest(request, index) for index in waiting]
            given = self.model.inputs(self.bundle, pairs, attempt)
            made = self._loop.run(pairs, attempt, given)
            for index, picture in zip(waiting, made.images, strict=True):
                mask, reason = self.model.cut(picture)
                done[index] = GeneratedMask(request.defect, index, mask, attempt + 1, reason)
            waiting = [index for index in waiting if done[index].rejected is not None]
            if not waiting:
                break
        return [done[index] for index in indices]
