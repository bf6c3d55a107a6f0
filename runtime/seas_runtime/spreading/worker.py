"""One of many that make pairs: a generator in a process of its own."""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from seas_runtime.backends.contract import Watch
from seas_runtime.backends.cores import CPUINFO, cpuinfo_entries
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.loop import unwatched
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.installing.advice import DISTRIBUTION
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.request import PairRequest
from seas_runtime.spreading.contract import EncodedPair, Job, Made, Opened, Parcel, Place, Task
from seas_runtime.spreading.delivery import filled

PACKAGES = (DISTRIBUTION, "numpy", "pillow")
"""What pairs and the bytes of their files depend on besides a backend; zlib too."""


class Worker:
    """Makes the pairs of tasks. `make` may be called by several threads: one encodes what another makes.

    Everything of the backend happens in one thread, which a GPU's library may want.
    """

    def __init__(self, job: Job) -> None:
        """Open the bundle; UserError where it is not there, another one, or its backend is not."""
        self._maker = ThreadPoolExecutor(1, "maker")
        self._source = self._maker.submit(open_generator, job).result()
        self.opened = describe(self._source)

    def make(self, task: Task) -> Made:
        """Make the pairs of a task's batches, and encode or write their pictures."""
        if task.sink is not None:
            return self._maker.submit(self._fill, task).result().finish()
        made = self._maker.submit(self._make, task).result()
        return [[encoded(pair) for pair in batch] for batch in made]

    def _make(self, task: Task) -> list[list[GeneratedPair]]:
        self._source.bundle.contexts.update(task.contexts)
        return list(self._source.generate_batches(task.batches))

    def _fill(self, task: Task) -> Place:
        assert task.sink is not None
        self._source.bundle.contexts.update(task.contexts)
        return filled(self._source, Parcel(task.batches, task.sink))


class MarkingGenerator(Generator):
    """Writes into records what computed their pairs, for pools of several kinds."""

    def generate_batches(
        self, batches: Iterable[Sequence[PairRequest]], watch: Watch = unwatched
    ) -> Iterator[list[GeneratedPair]]:
        """Yield the pairs of each batch; see `Generator.generate_batches`."""
        kind = kind_of(self.describe_backend())
        for pairs in super().generate_batches(batches, watch):
            yield [replace(pair, record=replace(pair.record, device=kind)) for pair in pairs]


def open_generator(job: Job) -> Generator:
    """Open a job's bundle.

    Raises UserError where it is another one here than the pairs are to be of, and so the photographs, and
    where this machine cannot reach what the job needs.
    """
    if job.needed is not None:
        job.needed.check()
    key = None if job.require_signature is None else Path(job.require_signature)
    kind = MarkingGenerator if job.mixed else Generator
    generator = kind.open(Path(job.bundle), job.backend, job.threads, require_signature=key)
    _same(job.bundle, job.fingerprint, generator.bundle.fingerprint)
    if job.mask_from is not None:
        generator.measure_with(Path(job.mask_from), key)
        assert generator.mask_reader is not None
        _same(job.mask_from, job.mask_fingerprint or "", generator.mask_reader.bundle.fingerprint)
    if job.onto is not None:
        photographs = generator.draw_onto(Path(job.onto)).digest
        if job.photographs not in (None, photographs):
            raise UserError(
                f"{job.onto}: expected the same photographs as where the command was given, found others; "
                "give every machine the same folder"
            )
    return generator


def _same(folder: str, expected: str, found: str) -> None:
    """Refuse another bundle than that of the command."""
    if found != expected:
        raise UserError(
            f"{folder}: expected the bundle {expected[:12]}, found {found[:12]}; "
            "give every machine the same one"
        )


def describe(generator: Generator) -> Opened:
    """Say what makes pairs here, and what their bytes depend on."""
    backend = generator.describe_backend()
    return Opened(
        backend=backend,
        kind=kind_of(backend),
        host=platform.node(),
        process=os.getpid(),
        versions=versions(),
        chosen=generator.chosen,
    )


def kind_of(backend: Mapping[str, str]) -> str:
    """Return what computes on a backend: the GPU's name, or the processor's."""
    return backend.get("backend_device") or _processor()


def versions() -> dict[str, str]:
    """Return the versions of what pairs and the bytes of their files depend on besides a backend."""
    return {**{name: _version(name) for name in PACKAGES}, "zlib": zlib.ZLIB_RUNTIME_VERSION}


def encoded(pair: GeneratedPair) -> EncodedPair:
    """Encode a pair's pictures: of a normal its image alone, of a rejected pair none."""
    names = ("image",) if pair.record.defect == GOOD else ("image", "mask")
    files = {name: pair.encode(name) for name in names} if pair.record.accepted else {}
    return EncodedPair(pair.record, files)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "0+source"


def _processor() -> str:
    """Return the processor's name: those of another kind may round differently."""
    names = (value for key, value in cpuinfo_entries(CPUINFO) if key.lower() in ("model name", "hardware"))
    return next(names, "") or platform.processor() or platform.machine()
