"""Opens what makes a data set's pairs: one generator, or workers on many devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.backends.contract import AUTO
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.generator import Generator
from seas_runtime.spreading.contract import Job, PairSource
from seas_runtime.spreading.devices import find_devices
from seas_runtime.spreading.pool import Pool
from seas_runtime.spreading.processes import Processes


@contextlib.contextmanager
def open_source(
    bundle: Path,
    backend: str = "cpu",
    threads: int | None = None,
    require_signature: Path | None = None,
    devices: str | None = None,
) -> Iterator[tuple[PairSource, str | None]]:
    """Yield what makes pairs of the bundle in a folder, and which backend `auto` took, in words or None.

    `devices` is as `find_devices` takes it: a process each; None for this process alone. Raises UserError as
    `Generator.open`.
    """
    if devices is None:
        generator = Generator.open(bundle, backend, threads, require_signature=require_signature)
        yield generator, generator.chosen
        return
    content = Bundle.read(bundle, require_signature=require_signature, every=False)
    chosen = None
    if backend == AUTO:
        from seas_runtime.backends.auto import choose

        choice = choose(content.path, content.signed)
        backend, chosen = choice.backend, choice.in_words()
    key = None if require_signature is None else str(require_signature.absolute())
    job = Job(str(bundle.absolute()), content.fingerprint, backend, threads, require_signature=key)
    with Pool(content, Processes(find_devices(devices, backend, threads)), job) as pool:
        yield pool, chosen
