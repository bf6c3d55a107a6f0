"""Measures how far a bundle lies from the PyTorch models that it was exported from.

In two halves, so that a model of several gigabytes is never in memory twice: PyTorch runs everything first
(`expect`), and only when its weights are let go are the graphs loaded, one at a time (`compare`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from seas_export.export.parity.graphs import ExpectedGraphs, compare_graphs, expect_graphs
from seas_export.export.parity.pipeline import ExpectedPair, Request, compare_pairs, expect_pairs
from seas_export.export.parity.report import BOUNDS, Bounds, ParityReport
from seas_export.methods.table import find_method
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import ENCODE_IMAGE
from seas_train import Checkpoint, load_checkpoint

LARGE_UNET = 100_000_000
"""Parameters from which a pair takes minutes on a CPU."""


@dataclass(frozen=True)
class Effort:
    """How much is compared where nothing else is asked for."""

    batch: int = 3
    """Items in the inputs of each graph; never 2, with which the graphs were traced."""
    pairs: int = 2
    """Pairs: whole pictures, and as many in a background."""
    steps: int | None = None
    """Of their schedule; None for the bundle's own."""


def effort_for(checkpoint: Checkpoint) -> Effort:
    """Return less for a large base: one item, and one pair of ten steps."""
    parameters = sum(parameter.numel() for parameter in checkpoint.unet.parameters())
    return Effort() if parameters < LARGE_UNET else Effort(batch=1, pairs=1, steps=10)


@dataclass(frozen=True, eq=False)
class Expected:
    """What PyTorch made; see `expect`."""

    graphs: ExpectedGraphs
    pairs: tuple[ExpectedPair, ...]
    steps: int


def measure(
    bundle: Path,
    checkpoint: Checkpoint | Path,
    seeds: Iterable[int] | None = None,
    bounds: Bounds | None = None,
) -> ParityReport:
    """Compare every graph, and one pair for each seed, the defects in turn.

    Where the bundle draws into backgrounds, every second pair is drawn into one, the first among them.

    Args:
        bundle: its folder.
        checkpoint: what it was exported from, or its folder.
        seeds: of the pairs; by default as many as `effort_for` says.
        bounds: None for those of the bundle's precision.

    Raises:
        UserError: either cannot be read, or the bundle was exported from another checkpoint.
    """
    if isinstance(checkpoint, Path):
        checkpoint = load_checkpoint(checkpoint)
    requests = (
        None if seeds is None else _in_turn(checkpoint, seeds, _places(Bundle.read(bundle, verify=False)))
    )
    expected = expect(bundle, checkpoint, requests)
    del checkpoint
    return compare(bundle, expected, bounds)


def expect(bundle: Path, checkpoint: Checkpoint, requests: Iterable[Request] | None = None) -> Expected:
    """Run PyTorch on inputs for every graph of a bundle, and make the requested pairs with it.

    Args:
        bundle: its folder; gives signatures and schedule.
        checkpoint: what it was exported from.
        requests: the pairs; by default as many, and with as many steps, as `effort_for` says.

    Raises:
        UserError: the bundle was exported from another checkpoint.
    """
    content = Bundle.read(bundle, verify=False)
    manifest = content.manifest
    exported_from = manifest.provenance.get("checkpoint")
    if exported_from != checkpoint.fingerprint:
        raise UserError(
            f"{bundle}: expected a bundle of checkpoint {checkpoint.path} ({checkpoint.fingerprint[:12]}), "
            f"found one of {str(exported_from)[:12]}; name the checkpoint that it was exported from"
        )
    effort = effort_for(checkpoint)
    schedule = content.schedule()
    reference = find_method(manifest.method).reference
    if reference is None:
        raise UserError(
            f"{bundle}: method {manifest.method} is nowhere written in PyTorch to compare with; "
            "export it with --no-parity"
        )
    graphs = expect_graphs(reference, manifest.graphs, checkpoint, schedule, effort.batch)
    if requests is None:
        requests = _in_turn(checkpoint, range(effort.pairs), _places(content))
        if effort.steps is not None and effort.steps < schedule.steps:
            schedule = content.schedule(steps=effort.steps)
    place = None if reference.placed is None else partial(reference.placed, checkpoint)
    pairs = tuple(expect_pairs(reference.loop(checkpoint, schedule, manifest), requests, place))
    return Expected(graphs, pairs, schedule.steps)


def compare(bundle: Path, expected: Expected, bounds: Bounds | None = None) -> ParityReport:
    """Run the graphs of a bundle, one after another, and the runtime; compare with what PyTorch made."""
    import torch

    threads = torch.get_num_threads()
    manifest = Bundle.read(bundle, verify=False).manifest
    bounds = bounds or BOUNDS[manifest.precision]
    graphs = tuple(compare_graphs(bundle, manifest.graphs, expected.graphs, bounds.graph))
    if not expected.pairs:
        return ParityReport(manifest.precision, graphs, (), 0, expected.steps)
    generator = Generator.open(bundle, threads=threads, verify=False)
    figures = compare_pairs(generator, expected.pairs, expected.steps)
    rows = figures.rows(bounds.pipeline)
    return ParityReport(manifest.precision, graphs, rows, figures.pairs, expected.steps, figures.placed)


def _places(content: Bundle) -> bool:
    """Whether a bundle draws into backgrounds."""
    return ENCODE_IMAGE in content.manifest.graphs


def _in_turn(checkpoint: Checkpoint, seeds: Iterable[int], places: bool) -> list[Request]:
    """A pair for each seed, the defects in turn; one in a background and one whole, where both are made."""
    defects, kinds = checkpoint.defects, (True, False) if places else (False,)
    return [
        Request(defects[number // len(kinds) % len(defects)], seed, placed=kinds[number % len(kinds)])
        for number, seed in enumerate(seeds)
    ]
