"""Proves data sets on a product: the flow from photographs to results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_export.proof.preparing import PASTED_PAIRS, Prepared, Say, prepare
from seas_export.proof.request import ProveRequest
from seas_export.proof.results.summary import POOLED, Summary
from seas_export.proof.results.table import heads, markdown, rows, sentences
from seas_export.proof.trainings.estimate import ProofEstimate, estimate
from seas_export.proof.trainings.job import Arrays
from seas_export.proof.trainings.run import finished, run_jobs
from seas_runtime.backends.cores import usable_cores
from seas_runtime.errors import CheckFailed
from seas_runtime.files import atomic_write_text, write_json
from seas_runtime.outputs.checking import check_writable, holds_ours, refuse_overlap
from seas_runtime.outputs.kinds import Kind, entries, mark

PROOF = Kind("a proof", "proof.json")
RESULT, TABLE, PICTURE, TRAININGS = "proof.json", "proof.md", "proof.png", "trainings"
MOST_WORKERS = 8

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Proof:
    """What a proof found, and where it lies. columns: the figures that its tables show."""

    out: Path
    result: dict[str, Any]
    summary: Summary
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    drawn: bool
    """Whether there is a picture."""


def prove(
    request: ProveRequest, say: Say, progress: Progress = lambda done, total: None, *, dry_run: bool = False
) -> Proof | ProofEstimate:
    """Train and test all sets with all seeds, and write the results; with `dry_run` only estimate the time.

    Trainings that are there already, of the same content, are not done again. Raises UserError for a product
    or data set that cannot be used, or a folder that holds anything else.
    """
    out = request.out
    refuse_overlap(out, request.inputs(), "--out")
    holds_ours(out, PROOF, "--out")
    check_writable(out, "--out")
    ready = prepare(request, say, lambda: _mark(out))
    folder = out / TRAININGS
    missing = [job for job in ready.jobs if finished(job, folder) is None]
    workers = request.workers or (1 if request.device == "cuda" else min(usable_cores(), MOST_WORKERS))
    expected = None
    if missing:
        expected = estimate(missing, len(ready.jobs) - len(missing), workers)
        say(expected.words())
    if dry_run:
        return expected or ProofEstimate(
            len(ready.jobs), len(ready.jobs), 0, len(ready.shown.tested), workers, 0, 0
        )
    start = time.monotonic()
    if missing:
        try:
            run_jobs(missing, folder, workers, progress, say)
        finally:
            _mark(out)
    found = {job.key: finished(job, folder) for job in ready.jobs}
    if lost := [job.name for job in ready.jobs if found[job.key] is None]:
        raise CheckFailed(f"{folder}: the results of {', '.join(lost)} cannot be read; run the command again")
    tested = {
        arm.name: [one for job in ready.jobs if job.arm == arm.name and (one := found[job.key]) is not None]
        for arm in ready.arms
    }
    seconds = {"measured": time.monotonic() - start, "trainings": len(missing)}
    return _write(request, ready, tested, expected, seconds)


def _write(
    request: ProveRequest,
    ready: Prepared,
    tested: dict[str, list[Arrays]],
    expected: ProofEstimate | None,
    seconds: dict[str, Any],
) -> Proof:
    """Sum up, and write JSON, table and picture."""
    from seas_runtime.units import duration

    out = request.out
    outcome = ready.task.outcome(ready.shown, tested, {arm.name: arm.against for arm in ready.arms})
    result = {
        **ready.about,
        "seconds": seconds,
        "estimate": None if expected is None else expected.to_dict(),
        "notes": list(ready.notes),
        "model": ready.task.in_words(request.options),
        "table": {
            "titles": heads(outcome.columns),
            "rows": rows(outcome.summary, POOLED, outcome.columns),
        },
        "sentences": sentences(outcome.summary, POOLED),
        **outcome.summary.to_dict(),
        **outcome.more,
    }
    half, trained = ready.about["tested on"], ready.about["trained on"]
    about = {
        "product": ready.shown.product.name,
        "trained on": f"{trained['pairs']} pairs, {trained['normals']} normals and what is named",
        "tested on": f"{half['pairs']} pairs and {half['normals']} normals, held out, {half['half']} half",
        "model": result["model"],
        "machine": ready.about["machine"],
        "time": f"{seconds['trainings']} trainings in {duration(seconds['measured'])}",
    }
    page = markdown(outcome.summary, about, ready.notes, outcome.columns, outcome.pages)
    atomic_write_text(out / TABLE, page)
    drawn = ready.task.draw(out / PICTURE, ready.shown, tested)
    if not drawn:
        (out / PICTURE).unlink(missing_ok=True)  # of another task, in the same folder
    write_json(out / RESULT, result)
    _mark(out)
    return Proof(out, result, outcome.summary, outcome.columns, ready.notes, drawn)


def _mark(out: Path) -> None:
    """List what is ours in the folder: everything but what others put there is under our names."""
    if out.is_dir():
        own = {RESULT, TABLE, PICTURE}
        files = {p for p in entries(out) if p in own or p.split("/")[0] in (TRAININGS, PASTED_PAIRS)}
        mark(out, PROOF, files)
