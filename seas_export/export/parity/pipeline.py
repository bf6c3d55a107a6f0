"""Whole pairs of the runtime against those of the PyTorch loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from seas_export.export.parity.report import PipelineBound, PipelineRow
from seas_export.methods.contract import Loop, ReferencePair
from seas_runtime.figures import iou, largest_difference, overlap, psnr, squared_error
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.request import PairRequest, PlacedInputs


@dataclass(frozen=True)
class Request:
    """Pairs to compare: `count` of a defect from index 0, in one batch."""

    defect: str
    seed: int
    count: int = 1
    placed: bool = False
    """Whether they are drawn into a background."""


class PipelineFigures:
    """Gathers the figures pair by pair, so that no images are kept."""

    def __init__(self) -> None:
        self.pairs = 0
        self.placed = 0
        self._squares, self._values = 0.0, 0
        self._probability = 0.0
        self._both, self._either = 0, 0

    def add(self, made: GeneratedPair, expected: ReferencePair | GeneratedPair) -> None:
        """Compare one pair with PyTorch's, or with another backend's."""
        self.pairs += 1
        self._squares += squared_error(made.image, expected.image)
        self._values += made.image.size
        apart = 0.0
        if made.probability is not None and expected.probability is not None:
            apart = largest_difference(made.probability, expected.probability)
        # max() would pass over a NaN.
        self._probability = (
            apart if math.isnan(apart) or math.isnan(self._probability) else max(self._probability, apart)
        )
        both, either = overlap(made.mask > 0, expected.mask > 0)
        self._both, self._either = self._both + both, self._either + either

    @property
    def probability(self) -> float:
        """The largest difference of the probability maps; NaN where one has a NaN."""
        return self._probability

    @property
    def psnr(self) -> float:
        """Of all images together, in dB; 999 where they are the same."""
        return psnr(self._squares, self._values)

    @property
    def iou(self) -> float:
        """Of the masks, pooled; one where no mask has a pixel."""
        return iou(self._both, self._either)

    def rows(self, bound: PipelineBound) -> tuple[PipelineRow, ...]:
        """Return the figures against their bounds."""
        return (
            PipelineRow("image PSNR (dB)", self.psnr, bound.psnr, self.psnr >= bound.psnr),
            PipelineRow(
                "probability, max |difference|",
                self._probability,
                bound.probability,
                self._probability <= bound.probability,
            ),
            PipelineRow("mask IoU", self.iou, bound.iou, self.iou >= bound.iou),
        )


@dataclass(frozen=True, eq=False)
class ExpectedPair:
    """A pair of the PyTorch loop, and which one it is: `index` of its request's."""

    request: Request
    index: int
    pair: ReferencePair
    placed: PlacedInputs | None = None


def expect_pairs(
    loop: Loop, requests: Iterable[Request], place: Callable[[int], PlacedInputs] | None = None
) -> Iterator[ExpectedPair]:
    """Make every requested pair with PyTorch; `place` returns what those of a seed are drawn into."""
    for request in requests:
        count, placed = request.count, []
        if request.placed and place is not None:
            placed = [place(request.seed * count + index) for index in range(count)]
        made = loop.generate(request.defect, count, request.seed, batch=count, placed=placed)
        for index, pair in enumerate(made):
            yield ExpectedPair(request, index, pair, placed[index] if placed else None)


def compare_pairs(generator: Generator, expected: Iterable[ExpectedPair], steps: int) -> PipelineFigures:
    """Make the same pairs with the runtime, without gates, and compare."""
    figures = PipelineFigures()
    for request, entries in itertools.groupby(expected, key=lambda entry: entry.request):
        group = list(entries)
        wanted = generator.request(request.defect, request.seed, steps=steps, gate=False)
        batch = [PairRequest(wanted, entry.index, entry.placed) for entry in group]
        (made,) = generator.generate_batches([batch])
        for ours, theirs in zip(made, group, strict=True):
            figures.add(ours, theirs.pair)
            figures.placed += theirs.placed is not None
    return figures
