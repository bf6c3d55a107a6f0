"""Measures how far a bundle lies from the PyTorch models that it was exported from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from seas_export.export.parity.graphs import measure_graphs
from seas_export.export.parity.pipeline import Request, compare_pairs
from seas_export.export.parity.report import BOUNDS, Bounds, GraphRow, ParityReport, PipelineRow
from seas_export.reference import ReferenceLoop
from seas_runtime.errors import UserError
from seas_runtime.generator import Generator
from seas_train.checkpoint import Checkpoint, load_checkpoint

__all__ = [
    "BOUNDS",
    "Bounds",
    "GraphRow",
    "ParityReport",
    "PipelineRow",
    "Request",
    "measure",
    "measure_requests",
]


def measure(
    bundle: Path, checkpoint: Checkpoint | Path, seeds: Iterable[int] = range(2), bounds: Bounds | None = None
) -> ParityReport:
    """Compare every graph, and one whole pair for each seed, the defects in turn.

    Args:
        bundle: its folder.
        checkpoint: what it was exported from, or its folder.
        seeds: of the pairs.
        bounds: None for those of the bundle's precision.

    Raises:
        UserError: either cannot be read, or the bundle was exported from another checkpoint.
    """
    if isinstance(checkpoint, Path):
        checkpoint = load_checkpoint(checkpoint)
    defects = checkpoint.defects
    requests = [Request(defects[place % len(defects)], seed) for place, seed in enumerate(seeds)]
    return measure_requests(bundle, checkpoint, requests, bounds)


def measure_requests(
    bundle: Path, checkpoint: Checkpoint, requests: Iterable[Request], bounds: Bounds | None = None
) -> ParityReport:
    """Compare every graph, and the requested pairs; see `measure`."""
    import torch

    generator = Generator.open(bundle, threads=torch.get_num_threads(), verify=False)
    manifest = generator.manifest
    exported_from = manifest.provenance.get("checkpoint")
    if exported_from != checkpoint.fingerprint:
        raise UserError(
            f"{bundle}: expected a bundle of checkpoint {checkpoint.path} ({checkpoint.fingerprint[:12]}), "
            f"found one of {str(exported_from)[:12]}; name the checkpoint that it was exported from"
        )
    bounds = bounds or BOUNDS[manifest.precision]
    schedule = generator.bundle.schedule()
    graphs = tuple(measure_graphs(bundle, manifest.graphs, checkpoint, schedule, bounds.graph))
    loop = ReferenceLoop(checkpoint, schedule.steps, schedule.sampler, manifest.sampler.mask_steps)
    figures = compare_pairs(generator, loop, requests)
    pipeline = figures.rows(bounds.pipeline) if figures.pairs else ()
    return ParityReport(manifest.precision, graphs, pipeline, figures.pairs)
