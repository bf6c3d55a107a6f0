"""Pairs from a build's bundle: the data set, and beside it the pairs that nobody should train on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_export.config.build import BuildConfig
from seas_export.pipeline.digests import dataset_digest
from seas_export.pipeline.ledger import Before, Ledger
from seas_export.pipeline.parts.judging import set_aside
from seas_export.pipeline.parts.model import Model
from seas_export.verdict import Verdict
from seas_export.version import version
from seas_runtime.manifest.types import GOOD

_GROWN = ("config.pairs", "defects")
"""Inputs that say which pairs are wanted, not what they are."""


def generate(
    ledger: Ledger,
    config: BuildConfig,
    verdicts: Sequence[Verdict],
    model: Model,
    folders: Mapping[str, Path],
    restore: bool,
    say: Callable[[str], None],
) -> None:
    """Make the data set; pairs of defects that are not usable go into one of their own: parts of the build.

    A defect that is usable now, or no longer, is moved with its pairs. folders: of both, by the part's name.
    """
    from seas_runtime.generation.placing.backgrounds import Backgrounds

    aside = set_aside(verdicts, config)
    kept = (*(verdict.defect for verdict in verdicts if verdict.defect not in aside), GOOD)
    wanted = {name: value for name, value in config.generate.to_dict().items() if name != "keep"}
    if config.generate.onto is not None:
        wanted["photographs"] = Backgrounds.of_folder(config.generate.onto).digest
    parts = [
        _Pairs(
            name,
            out,
            {
                "version": version(),
                "bundle": ledger.entries[model.part("export")].output,
                "defects": defects,
                "seed": config.seed,
                "config": wanted,
            },
            defects,
        )
        for (name, out), defects in zip(folders.items(), (kept, aside), strict=True)
    ]
    for source, target in (parts, reversed(parts)):
        _move(ledger, source, target)
    for part in parts:
        if not part.defects:
            ledger.forget(part.name)
            continue

        def make(before: Before, part: _Pairs = part) -> None:
            write_pairs(model.bundle, part.out, part.defects, config, before, say, restore)

        ledger.part(part.name, part.inputs, part.out, make, dataset_digest, grown=_GROWN, again=restore)


@dataclass(frozen=True)
class _Pairs:
    """A part of a build that holds pairs."""

    name: str
    out: Path
    inputs: dict[str, Any]
    defects: tuple[str, ...]


def _move(ledger: Ledger, source: _Pairs, target: _Pairs) -> None:
    """Move what `target` wants of the pairs that `source` has, where these are what would be made again."""
    from seas_runtime.dataset.moving import clear_dataset, move_defects

    entry = ledger.entries.get(source.name)
    held = () if entry is None else entry.inputs["defects"]
    if set(held).isdisjoint(target.defects) or not ledger.continues(source.name, source.inputs, _GROWN):
        return
    if not ledger.continues(target.name, target.inputs, _GROWN):
        clear_dataset(target.out)
        ledger.begin(target.name, target.inputs, target.out)
    move_defects(source.out, target.out, target.defects)


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
    from seas_export.placing.choice import choose_placing, in_words
    from seas_export.progress import pairs_progress
    from seas_runtime import DatasetRequest, Generator, Sampling, write_dataset
    from seas_runtime.backends.contract import AUTO
    from seas_runtime.dataset.folder import backend_of
    from seas_runtime.methods.table import find_method

    wanted = config.generate
    backend = wanted.backend
    afresh = before in (Before.NOTHING, Before.RESTATED)
    if not afresh and backend == AUTO:  # what is fastest may have changed since it was begun
        backend = backend_of(out) or AUTO
    generator = Generator.open(bundle, backend, config.threads)
    if generator.chosen:
        say(generator.chosen)
    placing = choose_placing(generator, wanted.source, wanted.onto, wanted.placing, regions_alone=True)
    say(in_words(generator, placing))
    request = DatasetRequest(
        defects=defects,
        count=wanted.pairs,
        seed=config.seed,
        batch=wanted.batch,
        sampling=Sampling(guidance=wanted.guidance, tau=wanted.tau, gate=wanted.gate),
        options=find_method(generator.manifest.method).make_options(wanted.asked),
        placing=placing,
        oversample=wanted.oversample,
    )
    with pairs_progress("generate") as progress:
        write_dataset(generator, request, out, progress, force=afresh, restore=restore)
