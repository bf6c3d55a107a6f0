"""Attempts at placed pairs: draw, run the loop, paste and judge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from seas_runtime.backends.contract import Watch
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.placing.backgrounds import Backgrounds, Given
from seas_runtime.generation.placing.canvas import Canvas
from seas_runtime.generation.placing.drawing import Drawer
from seas_runtime.generation.placing.judging import Judge
from seas_runtime.generation.placing.mask_reader import READING, MaskReader, Read
from seas_runtime.generation.records import Outcome
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.contract import Inputs
from seas_runtime.methods.request import PairRequest

__all__ = ["Given", "PlacedAttempts", "Prepared"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """What one attempt at a batch is fed."""

    inputs: Inputs
    canvases: tuple[Canvas, ...] | None = None
    """Of placed pairs."""


class PlacedAttempts:
    """Makes attempts at placed pairs of one bundle."""

    def __init__(self, bundle: Bundle, loop: Loop) -> None:
        self._bundle, self._loop = bundle, loop
        self.reader: MaskReader | None = None
        self._backgrounds: Backgrounds | None = None
        self._made: tuple[Drawer, Judge] | None = None
        self._lock = Lock()

    @property
    def backgrounds(self) -> Backgrounds:
        """What is drawn into, by default the bundle's own photographs; UserError where it has none."""
        if self._backgrounds is None:
            self._backgrounds = Backgrounds.of_bundle(self._bundle)
        return self._backgrounds

    @backgrounds.setter
    def backgrounds(self, found: Backgrounds) -> None:
        self._backgrounds = found

    def prepare(self, batch: Sequence[PairRequest], attempt: int, given: Given | None) -> Prepared:
        """Draw photographs, placements and noise for one attempt; host work alone, safe in another thread.

        `given` is the photograph to draw into, in place of `backgrounds`. Raises UserError where no placement
        fits.
        """
        drawer, judge = self._tools()
        photographs = self.backgrounds if given is None else given
        canvases = tuple(
            Canvas(pair, drawer.draw(photographs, pair, attempt), self._bundle.manifest, judge)
            for pair in batch
        )
        return Prepared(self._loop.prepare([canvas.request for canvas in canvases], attempt), canvases)

    def run(
        self, pairs: Sequence[PairRequest], attempt: int, prepared: Prepared, watch: Watch
    ) -> Iterator[Outcome]:
        """Make one attempt at the pairs that `prepared` was made for."""
        canvases = prepared.canvases or ()
        made = self._loop.run([canvas.request for canvas in canvases], attempt, prepared.inputs, watch)
        pasted = [canvas.paste(made, position) for position, canvas in enumerate(canvases)]
        defects = [place for place, pair in enumerate(pairs) if pair.request.defect != GOOD]
        read: dict[int, Read] = {}
        times = dict.fromkeys(range(len(pairs)), made.times)
        if self.reader is not None and defects:
            began = time.perf_counter()
            regions = [canvases[place].finished(pasted[place]) for place in defects]
            found = self.reader.read([pairs[place] for place in defects], regions, attempt, watch)
            read = dict(zip(defects, found, strict=True))
            each = (time.perf_counter() - began) / len(defects)
            times.update(dict.fromkeys(defects, made.times.and_of(READING, each)))
        for place, canvas in enumerate(canvases):
            yield canvas.outcome(made, place, pasted[place], read.get(place), times[place])

    def _tools(self) -> tuple[Drawer, Judge]:
        with self._lock:
            if self._made is None:
                self._made = Drawer(self._bundle), Judge(self._bundle)
            return self._made
