"""Pairs from a build's bundle: the data set, and beside it the pairs that nobody should train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from seas_export.config.build import BuildConfig
from seas_export.pipeline.digests import dataset_digest
from seas_export.pipeline.ledger import Before, Ledger
from seas_export.pipeline.parts.judging import set_aside
from seas_export.verdict import Verdict
from seas_export.version import version
from seas_runtime.manifest.types import GOOD


def generate(
    ledger: Ledger,
    config: BuildConfig,
    verdicts: Sequence[Verdict],
    bundle: Path,
    folders: Mapping[str, Path],
    restore: bool,
    say: Callable[[str], None],
) -> None:
    """Make the data set; pairs of defects that are not usable go into one of their own: parts of the build.

    folders: of both, by the part's name.
    """
    aside = set_aside(verdicts, config)
    kept = (*(verdict.defect for verdict in verdicts if verdict.defect not in aside), GOOD)
    wanted = {name: value for name, value in asdict(config.generate).items() if name != "keep"}
    for (part, out), defects in zip(folders.items(), (kept, aside), strict=True):
        if not defects:
            ledger.forget(part)
            continue

        def make(before: Before, out: Path = out, defects: tuple[str, ...] = defects) -> None:
            write_pairs(bundle, out, defects, config, before, say, restore)

        inputs = {
            "version": version(),
            "bundle": ledger.entries["export"].output,
            "defects": defects,
            "seed": config.seed,
            "config": wanted,
        }
        ledger.part(part, inputs, out, make, dataset_digest, grown="config.pairs", again=restore)


def write_pairs(
    bundle: Path,
    out: Path,
    defects: tuple[str, ...],
    config: BuildConfig,
    before: Before,
    say: Callable[[str], None],
    restore: bool,
) -> None:
    """Generate pairs of `defects` into the data set folder `out`, or what is missing there.

    Pairs that a person removed are made again with `restore` alone; files that are not the data set's stay.

    Raises:
        UserError: the bundle cannot be run here, or `out` cannot be written.
    """
    from seas_export.progress import pairs_progress
    from seas_runtime import DatasetRequest, Generator, Sampling, write_dataset
    from seas_runtime.backends.contract import AUTO
    from seas_runtime.dataset.folder import backend_of

    wanted = config.generate
    backend = wanted.backend
    afresh = before in (Before.NOTHING, Before.RESTATED)
    if not afresh and backend == AUTO:  # what is fastest may have changed since it was begun
        backend = backend_of(out) or AUTO
    generator = Generator.open(bundle, backend, config.threads)
    if generator.chosen:
        say(generator.chosen)
    request = DatasetRequest(
        defects=defects,
        count=wanted.pairs,
        seed=config.seed,
        batch=wanted.batch,
        sampling=Sampling(guidance=wanted.guidance, tau=wanted.tau, gate=wanted.gate),
        options=wanted.options,
    )
    with pairs_progress("generate") as progress:
        write_dataset(generator, request, out, progress, force=afresh, restore=restore)
