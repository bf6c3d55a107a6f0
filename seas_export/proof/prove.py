"""Proves data sets on a product: the flow from photographs to results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.proof.request import LEAST_SEEDS, ProveRequest
from seas_export.proof.results import picture
from seas_export.proof.results.summary import Summary, summarize
from seas_export.proof.results.table import markdown
from seas_export.proof.sets.arms import PASTED, REAL, Arm, make_arms
from seas_export.proof.sets.copy_paste import make_pasted
from seas_export.proof.sets.held_out import choose_scale, held_out, real_normals, real_pairs
from seas_export.proof.sets.named import NamedSet, read_named
from seas_export.proof.trainings.estimate import ProofEstimate, estimate
from seas_export.proof.trainings.job import Job, Tested, contents_of, job_key
from seas_export.proof.trainings.run import finished, run_jobs
from seas_runtime.backends.cores import usable_cores
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import atomic_write_text, json_bytes, write_json
from seas_runtime.outputs.checking import check_writable, holds_ours, refuse_overlap
from seas_runtime.outputs.kinds import Kind, entries, mark

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.proof.fitting import Recipe
    from seas_train.proof.pictures import Pictures, Sample

PROOF = Kind("a proof", "proof.json")
RESULT, TABLE, PICTURE, TRAININGS, PASTED_PAIRS = (
    "proof.json",
    "proof.md",
    "proof.png",
    "trainings",
    "copy_paste",
)
SIZE = 256
"""Pixels that the product is checked at; which photographs train does not depend on it."""
MOST_WORKERS = 8
DEFAULT_PASTED = 200
SCHEMA = 1

Say = Callable[[str], object]
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Proof:
    """What a proof found, and where it lies."""

    out: Path
    result: dict[str, Any]
    summary: Summary
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Prepared:
    """All that is known before a training begins."""

    product: Product
    pictures: Pictures
    tested: tuple[Sample, ...]
    arms: tuple[Arm, ...]
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    about: dict[str, Any]


def prove(
    request: ProveRequest, say: Say, progress: Progress = lambda done, total: None, *, dry_run: bool = False
) -> Proof | ProofEstimate:
    """Train and test all sets with all seeds, and write the results; with `dry_run` only estimate the time.

    Trainings that are there already, of the same content, are not done again. Raises UserError for a product
    or data set that cannot be used, or a folder that holds anything else.
    """
    out = request.out
    _check_out(request)
    ready = _prepare(request, say)
    folder = out / TRAININGS
    missing = [job for job in ready.jobs if finished(job, folder) is None]
    workers = request.workers or (1 if request.device == "cuda" else min(usable_cores(), MOST_WORKERS))
    expected = None
    if missing:
        expected = estimate(missing, len(ready.jobs) - len(missing), workers)
        say(expected.words())
    if dry_run:
        return expected or ProofEstimate(
            len(ready.jobs), len(ready.jobs), 0, len(ready.tested), workers, 0, 0
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


def _check_out(request: ProveRequest) -> None:
    out = request.out
    refuse_overlap(out, request.inputs(), "--out")
    holds_ours(out, PROOF, "--out")
    check_writable(out, "--out")


def _prepare(request: ProveRequest, say: Say) -> _Prepared:
    """Read the product and the data sets, paste, and name the jobs."""
    from seas_train.data import load_product
    from seas_train.proof.pictures import Pictures
    from seas_train.proof.segmenters.table import DRAWING

    options = request.options
    if request.device == "cuda":
        _require_gpu()
    product = load_product(request.directory, request.photographs, size=SIZE)
    pictures = Pictures(product.preprocessing)
    scale = options.scale or choose_scale(product, pictures)
    tested = held_out(product, scale, options.half)
    named = [read_named(name, path, product, scale, tested) for name, path in request.named.items()]
    notes = [warning for one in named for warning in one.warnings]
    if options.seeds < LEAST_SEEDS:
        notes.append(f"{options.seeds} seeds: too few to tell chance from gain; take {LEAST_SEEDS} or more")
    pairs, normals = real_pairs(product, scale), real_normals(product, scale)
    pasted = None
    if options.copy_paste:
        folder = request.out / PASTED_PAIRS / _pasting_key(pairs, normals)
        count = options.pasted or (max(one.per_defect() for one in named) if named else DEFAULT_PASTED)
        say(f"pasting {count} pairs of each defect")
        pasted = make_pasted(pictures, pairs, normals, folder, count, seed=0)
        notes.append(f"copy-paste: {count} pairs of each defect, by {pasted.way}")
        _mark(request.out)
    drawing = options.recipe.segmenter in DRAWING
    if drawing:
        notes.append(
            f"{options.recipe.segmenter}: half of the crops around defects are {_drawn(options.recipe)}"
        )
    for note in notes:
        say(note)
    arms = make_arms(pairs, normals, pasted, named, options.recipe.share, options.alone, drawing)
    known: dict[Sample, str] = {}
    jobs = []
    for seed in range(options.seeds):
        for arm in arms:
            contents = contents_of(arm.sources, tested, known)
            key = job_key(options.recipe, seed, contents, product.preprocessing)
            jobs.append(
                Job(
                    arm.name,
                    seed,
                    options.recipe,
                    arm.sources,
                    tested,
                    product.preprocessing,
                    request.device,
                    key,
                )
            )
    about = _about(request, product, scale, tested, named, len(pairs), len(normals))
    return _Prepared(product, pictures, tested, tuple(arms), tuple(jobs), tuple(notes), about)


def _drawn(recipe: Recipe) -> str:
    """Say what is drawn into normals; checks the folder of textures."""
    from seas_train.proof.anomalies import texture_files

    if recipe.textures is None:
        return "normals with anomalies drawn from the product's own photographs, shuffled (no --textures)"
    return f"normals with anomalies drawn from {len(texture_files(recipe.textures))} pictures of --textures"


def _pasting_key(pairs: tuple[Sample, ...], normals: tuple[Sample, ...]) -> str:
    """Return a name for pasted pairs that follows from what they are made of."""
    import hashlib

    from seas_export.proof.sets.copy_paste import VERSION, has_opencv

    said = [VERSION, has_opencv(), [one.content() for one in (*pairs, *normals)]]
    return hashlib.sha256(json_bytes(said)).hexdigest()[:12]


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError("--device cuda: expected a GPU that PyTorch can use, found none; leave it out")


def _about(
    request: ProveRequest,
    product: Product,
    scale: float,
    tested: tuple[Sample, ...],
    named: list[NamedSet],
    pairs: int,
    normals: int,
) -> dict[str, Any]:
    """Return what a proof says of what it is a proof of."""
    from seas_export.machine.machine import describe_machine
    from seas_export.version import version
    from seas_runtime.manifest.types import GOOD

    good = sum(sample.defect == GOOD for sample in tested)
    return {
        "schema": SCHEMA,
        "product": product.name,
        "fingerprint": product.fingerprint,
        "version": version(),
        "machine": describe_machine().in_words(),
        "options": request.described(),
        "scale": scale,
        "trained on": {"pairs": pairs, "normals": normals},
        "tested on": {"half": request.options.half.value, "pairs": len(tested) - good, "normals": good},
        "sets": {one.name: {"pairs": len(one.pairs), "normals": len(one.normals)} for one in named},
    }


def _write(
    request: ProveRequest,
    ready: _Prepared,
    tested: dict[str, list[Tested]],
    expected: ProofEstimate | None,
    seconds: dict[str, Any],
) -> Proof:
    """Sum up, and write JSON, table and picture."""
    from seas_runtime.units import duration

    out = request.out
    shown = [sample.defect for sample in ready.tested]
    counts = {arm: [one.counts for one in seeds] for arm, seeds in tested.items()}
    against = {arm.name: arm.against for arm in ready.arms}
    summary = summarize(counts, against, shown)
    result = {
        **ready.about,
        "seconds": seconds,
        "estimate": None if expected is None else expected.to_dict(),
        "notes": list(ready.notes),
        **summary.to_dict(),
    }
    recipe, half = request.options.recipe, ready.about["tested on"]
    about = {
        "product": ready.product.name,
        "trained on": f"{ready.about['trained on']['pairs']} pairs, {ready.about['trained on']['normals']} "
        "normals and what is named",
        "tested on": f"{half['pairs']} pairs and {half['normals']} normals, held out, {half['half']} half",
        "segmenter": f"{recipe.segmenter}, {'pretrained' if recipe.pretrained else 'not pretrained'}, "
        f"{recipe.steps} steps of {recipe.batch} crops of {recipe.crop} px, {request.options.seeds} seeds",
        "machine": ready.about["machine"],
        "time": f"{seconds['trainings']} trainings in {duration(seconds['measured'])}",
    }
    atomic_write_text(out / TABLE, markdown(summary, about, ready.notes))
    _draw(out / PICTURE, ready, tested)
    write_json(out / RESULT, result)
    _mark(out)
    return Proof(out, result, summary, ready.notes)


def _draw(file: Path, ready: _Prepared, tested: dict[str, list[Tested]]) -> None:
    """Draw where the first data set, or copy-paste without one, helped and harmed."""
    shown = [sample.defect for sample in ready.tested]
    names = [arm.name for arm in ready.arms]
    ours = next((name for name in names if name.startswith("real + ") and name != PASTED), PASTED)
    best, worst = picture.telling(
        [one.counts for one in tested[ours]], [one.counts for one in tested[REAL]], shown
    )
    photographs = {}
    for index in (*best, *worst):
        sample = ready.tested[index]
        image = ready.product.photograph(sample.image)
        import numpy as np

        caption = f"{sample.defect}\n{sample.image.name}"
        photographs[index] = (np.asarray(image), ready.pictures.marking(sample), caption)
    maps = {
        name: {index: [one.maps[index] for one in tested[name]] for index in photographs} for name in names
    }
    picture.draw(file, photographs, maps, best, worst)


def _mark(out: Path) -> None:
    """List what is ours in the folder: everything but what others put there is under our names."""
    if out.is_dir():
        own = {RESULT, TABLE, PICTURE}
        files = {p for p in entries(out) if p in own or p.split("/")[0] in (TRAININGS, PASTED_PAIRS)}
        mark(out, PROOF, files)
