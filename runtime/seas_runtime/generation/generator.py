"""Generates pairs: noise, N steps, decode, average, threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from seas_runtime.backends.contract import AUTO, Backend, Watch, open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.loop import Batch, Loop, Settings, unwatched
from seas_runtime.generation.plan import Start
from seas_runtime.generation.records import (
    MAX_COUNT,
    MAX_RETRIES,
    Attempt,
    GeneratedPair,
    PairRecord,
    check_integer,
    check_sampling,
)
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.types import GOOD, RUNTIME_GRAPHS, STEP, Manifest
from seas_runtime.methods import gates


class Generator:
    """Generates pairs from one bundle on one backend. Open it with `Generator.open`."""

    def __init__(self, bundle: Bundle, backend: Backend, chosen: str | None = None) -> None:
        self.bundle = bundle
        self.backend = backend
        self.chosen = chosen
        sessions = Sessions(bundle, backend)
        sessions.load(RUNTIME_GRAPHS)
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
                content = Bundle.read(bundle, verify, require_signature)
                return cls(content, opening.result())
        from seas_runtime.backends.auto import choose

        content = Bundle.read(bundle, verify, require_signature)
        choice = choose(content.path)
        return cls(content, open_backend(choice.backend, threads), choice.in_words())

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    def settings(
        self,
        defect: str,
        seed: int = 0,
        *,
        guidance: float | None = None,
        tau: float | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        gate: bool = True,
    ) -> Settings:
        """Fill in the bundle's defaults; UserError for a defect, sampler or steps that it has not."""
        if defect != GOOD and defect not in self.manifest.defects:
            known = ", ".join((*self.manifest.defects, GOOD))
            raise UserError(f"defect {defect!r}: the bundle does not have it; expected one of {known}")
        check_sampling(seed, 1, guidance, tau, steps)
        schedule = self.bundle.schedule(sampler, steps)
        if schedule.needs_noise and self.manifest.graphs[STEP].input("noise") is None:
            raise UserError(
                f"sampler {schedule.key!r} adds noise in its steps, which this bundle's step graph "
                "does not take; choose another sampler, or export the bundle with this one as its default"
            )
        return Settings(
            defect=defect,
            seed=seed,
            schedule=schedule,
            guidance=float(self.manifest.sampler.guidance if guidance is None else guidance),
            tau=float(self.manifest.tau if tau is None else tau),
            gate=gate,
        )

    def generate(
        self,
        defect: str,
        count: int,
        seed: int = 0,
        *,
        start: int = 0,
        batch: int = 4,
        guidance: float | None = None,
        tau: float | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        gate: bool = True,
    ) -> Iterator[GeneratedPair]:
        """Yield pairs `start` to `start + count - 1` in order, as batches of them are done.

        `defect` is one of the bundle's, or `good` for normals. Batches hold the indices [k * batch, (k + 1)
        * batch) whatever `start` is, so that a run continued at a multiple of `batch` repeats an unbroken
        one to the byte; a pair is the same for any batch up to the backend's rounding. With `gate` a
        rejected pair is tried again, at most 3 times; one that never passes is yielded with
        `record.accepted` False. Options left out are the bundle's. Raises UserError, at once, for an option
        out of range.
        """
        check_sampling(seed, batch, guidance, tau, steps)
        check_integer("start", start, 0, MAX_COUNT)
        check_integer("count", count, 1, MAX_COUNT)
        settings = self.settings(
            defect, seed, guidance=guidance, tau=tau, steps=steps, sampler=sampler, gate=gate
        )
        return self._generate(settings, start, start + count, batch)

    def _generate(self, settings: Settings, start: int, end: int, batch: int) -> Iterator[GeneratedPair]:
        firsts = range(start - start % batch, end, batch)
        indices = (range(max(first, start), min(first + batch, end)) for first in firsts)
        for pairs in self.generate_batches((settings, item) for item in indices):
            yield from pairs

    def generate_batches(
        self, batches: Iterable[tuple[Settings, Sequence[int]]], watch: Watch = unwatched
    ) -> Iterator[list[GeneratedPair]]:
        """Yield the pairs of each batch of indices as it is done; see `generate`.

        The next batch's noise is drawn by another thread meanwhile. `watch` is called between graphs where
        the host waits for each, and may raise to stop at once.
        """
        with ThreadPoolExecutor(1, "noise") as ahead:
            pending: tuple[Settings, Sequence[int], Future[Start]] | None = None
            for settings, indices in batches:
                drawing = ahead.submit(self._loop.prepare, settings, indices, 0)
                if pending is not None:
                    yield self._pairs(*pending, watch)
                pending = settings, indices, drawing
            if pending is not None:
                yield self._pairs(*pending, watch)

    def _pairs(
        self, settings: Settings, indices: Sequence[int], drawing: Future[Start], watch: Watch
    ) -> list[GeneratedPair]:
        """Make the pairs of one batch, trying those that are rejected again, together."""
        done: dict[int, GeneratedPair] = {}
        waiting = list(indices)
        for attempt in range(MAX_RETRIES + 1):
            start = drawing.result() if attempt == 0 else None
            batch = self._loop.run(settings, waiting, attempt, start, watch)
            for position, index in enumerate(waiting):
                done[index] = self._judge(settings, index, attempt, batch, position, done.get(index))
            waiting = [index for index in waiting if not done[index].record.accepted]
            if not waiting:
                break
        return [done[index] for index in indices]

    def _judge(
        self,
        settings: Settings,
        index: int,
        attempt: int,
        batch: Batch,
        position: int,
        previous: GeneratedPair | None,
    ) -> GeneratedPair:
        probability = batch.probabilities[position]
        mask = probability >= settings.tau
        reason = None
        if settings.gate:
            normal = settings.defect == GOOD
            reason = gates.rejection(batch.latents[position], probability, mask, normal)
        reference = batch.references[position]
        this = Attempt(attempt, reference, gates.mask_area(mask), reason)
        record = PairRecord(
            seed=settings.seed,
            index=index,
            defect=settings.defect,
            accepted=reason is None,
            attempts=(this,),
            reference=reference,
            sampler=settings.schedule.sampler,
            steps=settings.schedule.steps,
            guidance=settings.guidance,
            tau=settings.tau,
            bundle=self.bundle.fingerprint,
            times=batch.times,
        )
        if previous is not None:
            earlier = previous.record
            record = replace(record, attempts=(*earlier.attempts, this), times=earlier.times + batch.times)
        return GeneratedPair(
            batch.images[position], np.where(mask, np.uint8(255), np.uint8(0)), probability, record
        )
