"""Pairs of one way of making them: how many pass, how they score, how they differ, what they cost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.figures import iou, overlap, psnr, squared_error
from seas_runtime.methods.request import Placing
from seas_runtime.methods.table import find_method
from seas_runtime.placement.morphology import box_of

if TYPE_CHECKING:
    from seas_runtime.generation.generator import Generator
    from seas_runtime.generation.records import GeneratedPair

PAIRS = 8
_SIDE = 32
"""Pixels a side at which defects are compared with each other."""


@dataclass(frozen=True)
class Way:
    """One way of making a bundle's pairs."""

    sampler: str
    steps: int
    mask_steps: int | None = None
    """How many of the last steps give a mask; None for the bundle's, or where its method measures none."""

    def in_words(self) -> str:
        """The way as a table's row begins."""
        masks = "" if self.mask_steps is None else f", masks of {self.mask_steps}"
        return f"{self.sampler} {self.steps}{masks}"


@dataclass(frozen=True)
class Quality:
    """What the pairs of one way are like."""

    pairs: int
    first_try: float
    """The share that passed the gates at the first try."""
    accepted: float
    """The share that passed at any."""
    score: float | None
    """Mean of those that passed; None where pairs have no score."""
    spread: float
    """How much defects of one type differ: the root mean square difference, in grey levels, between their
    boxes, each scaled to 32 pixels a side; the mean over pairs and over types. Of normals, whole ones."""
    seconds: float
    """Of a pair, its failed attempts included; without encoding and writing files."""


@dataclass(frozen=True)
class Compared:
    """How far pairs lie from those of the reference: of pairs that both passed at their first try."""

    pairs: int
    psnr: float | None
    """Of what was drawn, in dB; None where there is no such pair."""
    mask_iou: float | None
    """Pooled."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of a pair."""

    first: bool
    """Whether it passed at the first try."""
    drawn: NDArray[np.uint8]  # [h, w, 3], the picture, or the window that was drawn anew
    mask: NDArray[np.bool_]  # [h, w]


@dataclass(frozen=True, eq=False)
class Made:
    """The pairs of one way: their figures, and what they are compared by."""

    quality: Quality
    seen: dict[tuple[str, int], Seen]

    def against(self, reference: Made) -> Compared:
        """Compare with the pairs of the same numbers."""
        squares = 0.0
        values = both = either = count = 0
        for key, ours in self.seen.items():
            theirs = reference.seen.get(key)
            if theirs is None or not (ours.first and theirs.first) or ours.mask.shape != theirs.mask.shape:
                continue
            count += 1
            squares += squared_error(ours.drawn, theirs.drawn)
            values += ours.drawn.size
            shared, union = overlap(ours.mask, theirs.mask)
            both, either = both + shared, either + union
        if not count:
            return Compared(0, None, None)
        return Compared(count, psnr(squares, values), iou(both, either))


def make_pairs(
    generator: Generator,
    way: Way,
    defects: Sequence[str],
    *,
    pairs: int = PAIRS,
    seed: int = 0,
    batch: int = 4,
    placing: Placing | None = None,
    tau: float | None = None,
    options: dict[str, Any] | None = None,
) -> Made:
    """Make pairs of every defect in one way, with gates and tries as `generate` has them.

    defects: the bundle's, or `good`. tau: threshold of masks, None for the bundle's. options: the method's
    own, by name.

    Raises UserError for what the bundle has not.
    """
    asked = dict(options or {})
    if way.mask_steps is not None:
        asked["mask_steps"] = way.mask_steps
    made = find_method(generator.manifest.method).make_options(asked)
    sampling: dict[str, Any] = {"sampler": way.sampler, "steps": way.steps, "tau": tau}
    seen: dict[tuple[str, int], Seen] = {}
    scores: list[float] = []
    first = accepted = total = 0
    seconds = 0.0
    for defect in defects:
        run = {"batch": batch, "placing": placing, "options": made, **sampling}
        list(generator.generate(defect, min(batch, pairs), seed, gate=False, **run))  # a warm-up
        begun = time.perf_counter()
        found = list(generator.generate(defect, pairs, seed, **run))
        seconds += time.perf_counter() - begun
        for pair in found:
            record = pair.record
            total += 1
            if not record.accepted:
                continue
            accepted += 1
            first += len(record.attempts) == 1
            if record.score is not None:
                scores.append(record.score)
            seen[defect, record.index] = _seen(pair)
    return Made(
        Quality(
            pairs=total,
            first_try=first / total,
            accepted=accepted / total,
            score=float(np.mean(scores)) if scores else None,
            spread=spread(seen),
            seconds=seconds / total,
        ),
        seen,
    )


def _seen(pair: GeneratedPair) -> Seen:
    """What was drawn, in 8 bits and three channels."""
    image, mask = pair.image, pair.mask > 0
    if pair.region is not None:
        image, mask = pair.region.cut(image), pair.region.cut(mask)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    colours = image[..., None] if image.ndim == 2 else image
    colours = colours[..., :3] if colours.shape[2] > 2 else np.repeat(colours[..., :1], 3, axis=2)
    return Seen(len(pair.record.attempts) == 1, np.ascontiguousarray(colours), mask)


def spread(seen: dict[tuple[str, int], Seen]) -> float:
    """How much defects of one type differ, as `Quality` has it."""
    kinds: dict[str, list[NDArray[np.float32]]] = {}
    for (defect, _), pair in seen.items():
        box = box_of(pair.mask) if pair.mask.any() else None
        top, left, bottom, right = box or (0, 0, *pair.mask.shape)
        part = Image.fromarray(pair.drawn[top:bottom, left:right]).resize(
            (_SIDE, _SIDE), Image.Resampling.BOX
        )
        kinds.setdefault(defect, []).append(np.asarray(part, np.float32))
    ways = [
        [float(np.sqrt(np.square(one - other).mean())) for one, other in itertools.combinations(pictures, 2)]
        for pictures in kinds.values()
    ]
    means = [float(np.mean(differences)) for differences in ways if differences]
    return float(np.mean(means)) if means else 0.0
