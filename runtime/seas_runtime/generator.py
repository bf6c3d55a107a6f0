"""Generates pairs: noise, N steps, decode, average, threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seas_runtime import gates
from seas_runtime.backends import Backend, Session, check_signature, open_backend
from seas_runtime.bundle import Bundle
from seas_runtime.errors import UserError
from seas_runtime.loop import Batch, Loop, Settings
from seas_runtime.manifest import GOOD, RUNTIME_GRAPHS, STEP, Manifest
from seas_runtime.records import (
    MAX_COUNT,
    MAX_RETRIES,
    Attempt,
    GeneratedPair,
    PairRecord,
    check_integer,
    check_sampling,
)


class Generator:
    """Generates pairs from one bundle on one backend. Open it with `Generator.open`."""

    def __init__(self, bundle: Bundle, backend: Backend, sessions: dict[str, Session]) -> None:
        self.bundle = bundle
        self.backend = backend
        self._loop = Loop(bundle, backend, sessions)

    @classmethod
    def open(
        cls, bundle: Path, backend: str = "cpu", threads: int | None = None, verify: bool = True
    ) -> Generator:
        """Read the bundle in folder `bundle` and load its graphs.

        `threads` is all physical cores by default; `verify=False` skips the hashes, not the other checks.
        Raises UserError for a bundle that is not whole, or a backend that is not there.
        """
        opened = open_backend(backend, threads)
        content = Bundle.read(bundle, verify)
        sessions = {}
        for name in RUNTIME_GRAPHS:
            file = content.graph_path(name)
            sessions[name] = opened.load(file)
            check_signature(file, content.manifest.graphs[name], sessions[name])
        return cls(content, opened, sessions)

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
        for first in range(start - start % batch, end, batch):
            indices = range(max(first, start), min(first + batch, end))
            yield from self._pairs(settings, indices)

    def _pairs(self, settings: Settings, indices: Sequence[int]) -> list[GeneratedPair]:
        """Make the pairs of one batch, trying those that are rejected again, together."""
        done: dict[int, GeneratedPair] = {}
        waiting = list(indices)
        for attempt in range(MAX_RETRIES + 1):
            batch = self._loop.run(settings, waiting, attempt)
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
