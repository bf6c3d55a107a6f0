"""Generates pairs: noise, N steps, decode, average, threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.backends.contract import AUTO, Backend, Watch, open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.loop import Loop, unwatched
from seas_runtime.generation.placing.attempts import Given, PlacedAttempts, Prepared
from seas_runtime.generation.placing.backgrounds import Backgrounds
from seas_runtime.generation.placing.mask_reader import MaskReader
from seas_runtime.generation.records import (
    MAX_BATCH,
    MAX_COUNT,
    MAX_RETRIES,
    Attempt,
    GeneratedPair,
    Outcome,
    PairRecord,
)
from seas_runtime.generation.resolve import resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.fields import check_integer
from seas_runtime.manifest.types import GOOD, STEP, Manifest
from seas_runtime.methods import gates
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.methods.request import PairRequest, Placing, Request, Sampling
from seas_runtime.methods.table import find_method


class Generator:
    """Generates pairs from one bundle on one backend. Open it with `Generator.open`."""

    def __init__(self, bundle: Bundle, backend: Backend[Any], chosen: str | None = None) -> None:
        self.bundle = bundle
        self.backend = backend
        self.chosen = chosen
        sessions = Sessions(bundle, backend)
        method = find_method(bundle.manifest.method)
        step = method.default_step(bundle.manifest)
        sessions.load([step if name == STEP else name for name in method.graphs])
        self._rejection = method.rejection
        self._loop = Loop(bundle, backend, sessions)
        self._placed = PlacedAttempts(bundle, self._loop)

    @classmethod
    def open(
        cls,
        bundle: Path,
        backend: str = "cpu",
        threads: int | None = None,
        verify: bool = True,
        require_signature: Path | None = None,
    ) -> Generator:
        """Read the bundle in folder `bundle` and load its graphs.

        `backend` is a backend's name, or `auto` for the fastest one that this machine can run the bundle on;
        `chosen` says then which and why. `threads` is all physical cores by default; `verify=False` skips
        the hashes, not the other checks. `require_signature` is a public key (PEM) that the bundle's
        signature must fit. Raises UserError for a bundle that is not whole or not signed so, or a backend
        that is not there.
        """
        if backend != AUTO:
            with ThreadPoolExecutor(1) as beside:  # a library loads while the bundle is hashed
                opening = beside.submit(open_backend, backend, threads)
                content = Bundle.read(bundle, verify, require_signature, every=False)
                return cls(content, opening.result())
        from seas_runtime.backends.auto import choose

        content = Bundle.read(bundle, verify, require_signature, every=False)
        choice = choose(content.path, content.signed)
        return cls(content, open_backend(choice.backend, threads), choice.in_words())

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def backgrounds(self) -> Backgrounds:
        """The photographs that placed pairs are drawn into: those of `draw_onto`, or the bundle's own.

        Raises UserError where there are none.
        """
        return self._placed.backgrounds

    def draw_onto(self, folder: Path) -> Backgrounds:
        """Draw placed pairs into the photographs of a folder; UserError where there is none."""
        self._placed.backgrounds = Backgrounds.of_folder(folder)
        return self._placed.backgrounds

    @property
    def mask_reader(self) -> MaskReader | None:
        """What measures masks of placed pairs in the method's place: see `measure_with`."""
        return self._placed.reader

    def measure_with(self, folder: Path, require_signature: Path | None = None) -> None:
        """Measure masks of placed pairs with the bundle in a folder: one with a mask head, such as SeaS's, of
        the same product, on the same backend.

        Raises UserError for a bundle that cannot, or a method that measures its own.
        """
        reader = MaskReader.of_folder(folder, self.manifest, require_signature)
        reader.open(self.backend)
        self._placed.reader = reader

    def scores(self, placing: Placing | None) -> bool:
        """Whether pairs get a score: those that are placed, of a bundle with features of real defects."""
        return placing is not None and FEATURES in self.bundle.tables

    def describe_backend(self) -> dict[str, str]:
        """Return what the bytes of pairs depend on besides the bundle, as `dataset.json` has it."""
        read = {} if self.mask_reader is None else self.backend.identity(self.mask_reader.bundle)
        return {
            "backend": self.backend.name,
            **{f"backend_{key}": value for key, value in self.backend.identity(self.bundle).items()},
            **{f"mask_backend_{key}": value for key, value in read.items()},
        }

    def request(
        self,
        defect: str,
        seed: int = 0,
        *,
        options: Any = None,
        placing: Placing | None = None,
        **sampling: Any,
    ) -> Request:
        """Return a request with the bundle's defaults filled in; `sampling` is as `Sampling` takes it.

        Raises UserError for an option out of range, and what the bundle has not.
        """
        asked = Request(defect, seed, Sampling(**sampling), options, placing)
        if self.mask_reader is None:
            return resolve(asked, self.bundle)
        self.mask_reader.check(placing, [defect])
        return resolve(asked, self.bundle, measured=True)

    def generate(
        self,
        defect: str,
        count: int,
        seed: int = 0,
        *,
        start: int = 0,
        batch: int = 1,
        options: Any = None,
        placing: Placing | None = None,
        **sampling: Any,
    ) -> Iterator[GeneratedPair]:
        """Yield pairs `start` to `start + count - 1` in order, as batches of them are done.

        `defect` is one of the bundle's, or `good` for normals; `sampling` and `options` as `request` takes
        them. With `placing`, defects are drawn into the photographs of `backgrounds`. Batches hold the
        indices [k * batch, (k + 1) * batch) whatever `start` is, so that a run continued at a multiple of
        `batch` repeats an unbroken one to the byte; a pair is the same for any batch up to the backend's
        rounding. Where `gate` is not False a rejected pair is tried again, at most 3 times; one that never
        passes is yielded with `record.accepted` False. Raises UserError, at once, for an option out of range.
        """
        check_integer("batch", batch, 1, MAX_BATCH)
        check_integer("start", start, 0, MAX_COUNT)
        check_integer("count", count, 1, MAX_COUNT)
        request = self.request(defect, seed, options=options, placing=placing, **sampling)
        return self._generate(request, start, start + count, batch)

    def _generate(self, request: Request, start: int, end: int, batch: int) -> Iterator[GeneratedPair]:
        firsts = range(start - start % batch, end, batch)
        indices = (range(max(first, start), min(first + batch, end)) for first in firsts)
        batches = ([PairRequest(request, index) for index in item] for item in indices)
        for pairs in self.generate_batches(batches):
            yield from pairs

    def generate_batches(
        self, batches: Iterable[Sequence[PairRequest]], watch: Watch = unwatched
    ) -> Iterator[list[GeneratedPair]]:
        """Yield the pairs of each batch as it is done; see `generate`. Its requests are from `request`.

        A batch may mix defects, seeds and thresholds, not samplers, steps, guidance or options: a ValueError.
        The next batch's noise is drawn by another thread meanwhile. `watch` is called between graphs where
        the host waits for each, and may raise to stop at once.
        """
        with ThreadPoolExecutor(1, "noise") as ahead:
            pending: tuple[Sequence[PairRequest], Future[Prepared]] | None = None
            for batch in batches:
                if len({_shared(pair.request) for pair in batch}) != 1:
                    raise ValueError("a batch has one sampler, number of steps, guidance and options")
                preparing = ahead.submit(self._prepare, batch, 0)
                if pending is not None:
                    yield self._make(*pending, watch)
                pending = batch, preparing
            if pending is not None:
                yield self._make(*pending, watch)

    def place(
        self,
        photograph: npt.NDArray[Any],
        defect: str,
        mask: npt.NDArray[np.bool_] | None = None,
        seed: int = 0,
        *,
        index: int = 0,
        placing: Placing | None = None,
        options: Any = None,
        **sampling: Any,
    ) -> GeneratedPair:
        """Draw a defect into one photograph in memory.

        Args:
            photograph: uint8 or uint16, [H, W] or [H, W, 2 to 4] with colour and alpha; it stays as it is.
            defect: one of the bundle's, or `good`: what is drawn anew stays normal.
            mask: [H, W], where and in what shape it is drawn; None draws a placement.
            seed: what the pair follows from, with `index`.
            index: see `seed`.
            placing: how it is placed and pasted; None for the defaults.
            options: the method's own.
            sampling: as `Sampling` takes it.

        Raises UserError for a photograph, a mask or an option that cannot be used, and where no placement
        fits.
        """
        request = self.request(defect, seed, options=options, placing=placing or Placing(), **sampling)
        given = Given(photograph, mask)
        return self._make([PairRequest(request, index)], None, unwatched, given)[0]

    def _prepare(self, batch: Sequence[PairRequest], attempt: int, given: Given | None = None) -> Prepared:
        """Make what one attempt at a batch is fed, in the host's memory."""
        if batch[0].request.placing is None:
            return Prepared(self._loop.prepare(batch, attempt))
        return self._placed.prepare(batch, attempt, given)

    def _make(
        self,
        batch: Sequence[PairRequest],
        prepared: Future[Prepared] | None,
        watch: Watch,
        given: Given | None = None,
    ) -> list[GeneratedPair]:
        """Make the pairs of one batch, trying those that are rejected again, together."""
        done: dict[int, GeneratedPair] = {}
        waiting = list(range(len(batch)))
        for attempt in range(MAX_RETRIES + 1):
            pairs = [batch[place] for place in waiting]
            first = prepared is not None and attempt == 0
            ready = prepared.result() if first and prepared else self._prepare(pairs, attempt, given)
            run = self._run_whole if ready.canvases is None else self._placed.run
            for place, pair, outcome in zip(waiting, pairs, run(pairs, attempt, ready, watch), strict=True):
                done[place] = self._pair(pair, attempt, outcome, done.get(place))
            waiting = [place for place in waiting if not done[place].record.accepted]
            if not waiting:
                break
        return [done[place] for place in range(len(batch))]

    def _run_whole(
        self, pairs: Sequence[PairRequest], attempt: int, prepared: Prepared, watch: Watch
    ) -> Iterator[Outcome]:
        """Make one attempt at whole pictures."""
        made = self._loop.run(pairs, attempt, prepared.inputs, watch)
        for place, pair in enumerate(pairs):
            mask = made.masks.masks[place]
            probability = None if made.masks.probabilities is None else made.masks.probabilities[place]
            reason = None
            if pair.request.sampling.gate:
                reason = self._rejection(made.latents[place], probability, mask, pair.request.defect == GOOD)
            origin = made.inputs.origins[place]
            yield Outcome(made.images[place], mask, probability, reason, origin, made.times)

    def _pair(
        self, pair: PairRequest, attempt: int, outcome: Outcome, previous: GeneratedPair | None
    ) -> GeneratedPair:
        """Return the pair as it is after an attempt, `previous` as it was before."""
        this = Attempt(attempt, outcome.origin, gates.mask_area(outcome.mask), outcome.rejected)
        earlier = previous.record if previous is not None else None
        record = PairRecord(
            request=pair.request,
            index=pair.index,
            accepted=outcome.rejected is None,
            attempts=(*(earlier.attempts if earlier else ()), this),
            bundle=self.bundle.fingerprint,
            times=earlier.times + outcome.times if earlier else outcome.times,
            score=outcome.score,
            weak=outcome.weak,
        )
        mask = np.where(outcome.mask, np.uint8(255), np.uint8(0))
        return GeneratedPair(outcome.image, mask, outcome.probability, record, outcome.region)


def _shared(request: Request) -> tuple[Any, ...]:
    """Return what the requests of a batch have in common."""
    sampling = (getattr(request.sampling, name) for name in ("sampler", "steps", "guidance"))
    return (*sampling, request.options, request.placing)
