"""Opens what makes a data set's pairs: one generator, or workers on many devices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.backends.contract import AUTO
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.spreading.contract import Job, PairSource
from seas_runtime.spreading.devices import find_devices
from seas_runtime.spreading.pool import Crew, Pool
from seas_runtime.spreading.processes import Processes


@contextlib.contextmanager
def open_source(
    bundle: Path,
    backend: str = "cpu",
    threads: int | None = None,
    require_signature: Path | None = None,
    devices: str | None = None,
    ray: str | None = None,
    mixed: bool = False,
) -> Iterator[tuple[PairSource, str | None]]:
    """Yield what makes pairs of the bundle in a folder, and which backend `auto` took, in words or None.

    `devices` is as `find_devices` takes it: a process each; None for this process alone. `ray` is a cluster's
    address, as `connect` takes it: a worker for each of its GPUs, or `threads` cores; `mixed` lets them be of
    several kinds. Raises UserError as `Generator.open`.
    """
    if ray is not None and devices is not None:
        raise UserError("--ray, --devices: a cluster's devices are those that Ray knows of; leave one out")
    if mixed and ray is None:
        raise UserError("--mixed-devices: is of --ray, whose machines may differ; leave it out")
    if ray is None and devices is None:
        generator = Generator.open(bundle, backend, threads, require_signature=require_signature)
        yield generator, generator.chosen
        return
    content = Bundle.read(bundle, require_signature=require_signature, every=False)
    chosen = None
    if backend == AUTO and ray is not None:
        raise UserError(
            "--backend auto: chooses for this machine, and a cluster's may differ; name one, such as "
            "--backend tensorrt"
        )
    if backend == AUTO:
        from seas_runtime.backends.auto import choose

        choice = choose(content.path, content.signed)
        backend, chosen = choice.backend, choice.in_words()
    key = None if require_signature is None else str(require_signature.absolute())
    job = Job(
        str(bundle.absolute()), content.fingerprint, backend, threads, require_signature=key, mixed=mixed
    )
    crew: Crew
    if ray is not None:
        from seas_runtime.spreading.on_ray.crew import RayCrew

        crew = RayCrew(ray)
    else:
        crew = Processes(find_devices(devices or "", backend, threads))
    with Pool(content, crew, job) as pool:
        yield pool, chosen
