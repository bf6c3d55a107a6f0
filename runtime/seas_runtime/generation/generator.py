"""Generates pairs: noise, N steps, decode, average, threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.backends.contract import AUTO, Backend, Watch, open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.loop import Attempted, Loop, unwatched
from seas_runtime.generation.records import (
    MAX_BATCH,
    MAX_COUNT,
    MAX_RETRIES,
    Attempt,
    GeneratedPair,
    PairRecord,
)
from seas_runtime.generation.resolve import resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.fields import check_integer
from seas_runtime.manifest.types import GOOD, Manifest
from seas_runtime.methods import gates
from seas_runtime.methods.contract import Inputs
from seas_runtime.methods.request import PairRequest, Request, Sampling
from seas_runtime.methods.table import find_method


class Generator:
    """Generates pairs from one bundle on one backend. Open it with `Generator.open`."""

    def __init__(self, bundle: Bundle, backend: Backend[Any], chosen: str | None = None) -> None:
        self.bundle = bundle
        self.backend = backend
        self.chosen = chosen
        sessions = Sessions(bundle, backend)
        method = find_method(bundle.manifest.method)
        sessions.load(method.graphs)
        self._rejection = method.rejection
        self._loop = Loop(bundle, backend, sessions)

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

    def request(self, defect: str, seed: int = 0, *, options: Any = None, **sampling: Any) -> Request:
        """Return a request with the bundle's defaults filled in; `sampling` is as `Sampling` takes it.

        Raises UserError for an option out of range, and what the bundle has not.
        """
        return resolve(Request(defect, seed, Sampling(**sampling), options), self.bundle)

    def generate(
        self,
        defect: str,
        count: int,
        seed: int = 0,
        *,
        start: int = 0,
        batch: int = 1,
        options: Any = None,
        **sampling: Any,
    ) -> Iterator[GeneratedPair]:
        """Yield pairs `start` to `start + count - 1` in order, as batches of them are done.

        `defect` is one of the bundle's, or `good` for normals; `sampling` and `options` as `request` takes
        them. Batches hold the indices [k * batch, (k + 1) * batch) whatever `start` is, so that a run
        continued at a multiple of `batch` repeats an unbroken one to the byte; a pair is the same for any
        batch up to the backend's rounding. Where `gate` is not False a rejected pair is tried again, at most
        3 times; one that never passes is yielded with `record.accepted` False. Raises UserError, at once, for
        an option out of range.
        """
        check_integer("batch", batch, 1, MAX_BATCH)
        check_integer("start", start, 0, MAX_COUNT)
        check_integer("count", count, 1, MAX_COUNT)
        request = self.request(defect, seed, options=options, **sampling)
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
            pending: tuple[Sequence[PairRequest], Future[Inputs]] | None = None
            for batch in batches:
                if len({_shared(pair.request) for pair in batch}) != 1:
                    raise ValueError("a batch has one sampler, number of steps, guidance and options")
                drawing = ahead.submit(self._loop.prepare, batch, 0)
                if pending is not None:
                    yield self._pairs(*pending, watch)
                pending = batch, drawing
            if pending is not None:
                yield self._pairs(*pending, watch)

    def _pairs(
        self, batch: Sequence[PairRequest], drawing: Future[Inputs], watch: Watch
    ) -> list[GeneratedPair]:
        """Make the pairs of one batch, trying those that are rejected again, together."""
        done: dict[int, GeneratedPair] = {}
        waiting = list(range(len(batch)))
        for attempt in range(MAX_RETRIES + 1):
            inputs = drawing.result() if attempt == 0 else None
            made = self._loop.run([batch[place] for place in waiting], attempt, inputs, watch)
            for position, place in enumerate(waiting):
                done[place] = self._judge(batch[place], attempt, made, position, done.get(place))
            waiting = [place for place in waiting if not done[place].record.accepted]
            if not waiting:
                break
        return [done[place] for place in range(len(batch))]

    def _judge(
        self,
        pair: PairRequest,
        attempt: int,
        made: Attempted,
        position: int,
        previous: GeneratedPair | None,
    ) -> GeneratedPair:
        request = pair.request
        mask = made.masks.masks[position]
        probability = None if made.masks.probabilities is None else made.masks.probabilities[position]
        reason = None
        if request.sampling.gate:
            reason = self._rejection(made.latents[position], probability, mask, request.defect == GOOD)
        this = Attempt(attempt, made.inputs.origins[position], gates.mask_area(mask), reason)
        earlier = previous.record if previous is not None else None
        record = PairRecord(
            request=request,
            index=pair.index,
            accepted=reason is None,
            attempts=(*(earlier.attempts if earlier else ()), this),
            bundle=self.bundle.fingerprint,
            times=earlier.times + made.times if earlier else made.times,
        )
        return GeneratedPair(
            made.images[position], np.where(mask, np.uint8(255), np.uint8(0)), probability, record
        )


def _shared(request: Request) -> tuple[Any, ...]:
    """Return what the requests of a batch have in common."""
    return (*(getattr(request.sampling, name) for name in ("sampler", "steps", "guidance")), request.options)
