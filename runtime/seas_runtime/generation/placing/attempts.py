"""Attempts at placed pairs: draw, run the loop, paste and judge."""

from __future__ import annotations

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
from seas_runtime.generation.records import Outcome
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
        for position, canvas in enumerate(canvases):
            yield canvas.outcome(made, position)

    def _tools(self) -> tuple[Drawer, Judge]:
        with self._lock:
            if self._made is None:
                self._made = Drawer(self._bundle), Judge(self._bundle)
            return self._made
