"""The pairs that int8 is calibrated on, and those that it is judged by: of all defects, whole and placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seas_engines.precision.loop_check import Pairs, Run, run_pairs
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.resolve import resolve
from seas_runtime.manifest.types import DECODE_IMAGE, ENCODE_IMAGE
from seas_runtime.methods.request import PairRequest, PlacedInputs, Request, Sampling
from seas_runtime.methods.table import find_method

CALIBRATED, JUDGED = 1000, 0
"""Seeds of the two: what is judged was not calibrated on."""


@dataclass(frozen=True)
class Sample:
    """Pairs of each defect: `whole` ones, and as many `placed` where the bundle draws into photographs."""

    seed: int
    each: int = 1
    steps: int | None = None
    """Of their schedule; None for the bundle's own."""
    alternate: bool = False
    """Whether a defect's pairs are whole or placed, in turn, and not both."""

    def run(self, bundle: Bundle, graphs: Mapping[str, Run]) -> Pairs:
        """Make the pairs with functions that run the graphs."""
        batches = self.batches(bundle, graphs[DECODE_IMAGE])
        made = [run_pairs(bundle, graphs, pairs) for pairs in batches if pairs]
        probabilities = [pairs.probabilities for pairs in made if pairs.probabilities is not None]
        return Pairs(
            np.concatenate([pairs.images for pairs in made]),
            np.concatenate([pairs.masks for pairs in made]),
            np.concatenate(probabilities) if probabilities else None,
        )

    def batches(self, bundle: Bundle, decode: Run) -> Sequence[list[PairRequest]]:
        """Return whole pairs, and placed ones, into pictures that `decode` makes: a batch of each."""
        places = ENCODE_IMAGE in bundle.manifest.graphs
        batches: tuple[list[PairRequest], list[PairRequest]] = ([], [])
        for number, defect in enumerate(bundle.manifest.defects):
            request = resolve(Request(defect, self.seed, Sampling(steps=self.steps)), bundle)
            kinds = (0, 1) if places else (0,)
            if self.alternate and places:
                kinds = (number % 2,)
            for kind in kinds:
                for index in range(self.each):
                    placed = None
                    if kind:
                        placed = self._placed(bundle, decode, number * self.each + index)
                    batches[kind].append(PairRequest(request, index, placed))
        return batches

    def _placed(self, bundle: Bundle, decode: Run, place: int) -> PlacedInputs:
        """Return a normal image of the product, as the bundle decodes it, and a random box in it."""
        latents = find_method(bundle.manifest.method).clean(bundle, place)
        window = np.asarray(decode({"latents": latents})["image"][0], np.uint8)
        height, width = window.shape[:2]
        random = np.random.Generator(np.random.Philox([self.seed, place]))
        mask = np.zeros((height, width), np.bool_)
        mask[_span(random, height), _span(random, width)] = True
        return PlacedInputs(window, mask)


def _span(random: np.random.Generator, side: int) -> slice:
    """Return a part of a side, an eighth of it to a half."""
    size = int(random.integers(side // 8, side // 2 + 1))
    first = int(random.integers(0, side - size + 1))
    return slice(first, first + size)
