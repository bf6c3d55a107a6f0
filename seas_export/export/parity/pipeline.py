"""Whole pairs of the runtime against those of the PyTorch loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from seas_export.export.parity.report import PipelineBound, PipelineRow
from seas_export.methods.contract import Loop, ReferencePair
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair


@dataclass(frozen=True)
class Request:
    """Pairs to compare: `count` of a defect from index 0, in one batch."""

    defect: str
    seed: int
    count: int = 1


class PipelineFigures:
    """Gathers the figures pair by pair, so that no images are kept."""

    def __init__(self) -> None:
        self.pairs = 0
        self._squares, self._values = 0.0, 0
        self._probability = 0.0
        self._both, self._either = 0, 0

    def add(self, made: GeneratedPair, expected: ReferencePair | GeneratedPair) -> None:
        """Compare one pair with PyTorch's, or with another backend's."""
        self.pairs += 1
        difference = made.image.astype(np.float64) - expected.image
        self._squares += float(np.square(difference).sum())
        self._values += difference.size
        apart = 0.0
        if made.probability is not None and expected.probability is not None:
            apart = float(np.abs(made.probability.astype(np.float64) - expected.probability).max())
        # max() would pass over a NaN.
        self._probability = (
            apart if math.isnan(apart) or math.isnan(self._probability) else max(self._probability, apart)
        )
        ours, theirs = made.mask > 0, expected.mask > 0
        self._both += int((ours & theirs).sum())
        self._either += int((ours | theirs).sum())

    @property
    def probability(self) -> float:
        """The largest difference of the probability maps; NaN where one has a NaN."""
        return self._probability

    @property
    def psnr(self) -> float:
        """Of all images together, in dB; 999 where they are the same."""
        return 10 * math.log10(255**2 * self._values / self._squares) if self._squares else 999.0

    @property
    def iou(self) -> float:
        """Of the masks, pooled; one where no mask has a pixel."""
        return self._both / self._either if self._either else 1.0

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


def expect_pairs(loop: Loop, requests: Iterable[Request]) -> Iterator[ExpectedPair]:
    """Make every requested pair with PyTorch."""
    for request in requests:
        made = loop.generate(request.defect, request.count, request.seed, batch=request.count)
        for index, pair in enumerate(made):
            yield ExpectedPair(request, index, pair)


def compare_pairs(generator: Generator, expected: Iterable[ExpectedPair], steps: int) -> PipelineFigures:
    """Make the same pairs with the runtime, without gates, and compare."""
    figures = PipelineFigures()
    for request, group in itertools.groupby(expected, key=lambda entry: entry.request):
        made = generator.generate(
            request.defect, request.count, request.seed, batch=request.count, steps=steps, gate=False
        )
        for ours, theirs in zip(made, group, strict=True):
            figures.add(ours, theirs.pair)
    return figures
