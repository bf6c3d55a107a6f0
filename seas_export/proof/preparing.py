"""What is known of a proof before a training begins: product, photographs, data sets, jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seas_export.proof.request import LEAST_SEEDS, ProveRequest
from seas_export.proof.sets.arms import Arm
from seas_export.proof.sets.copy_paste import VERSION, Pasted, has_opencv, make_pasted
from seas_export.proof.sets.held_out import choose_scale, held_out, real_normals, real_pairs
from seas_export.proof.sets.named import NamedSet, read_named
from seas_export.proof.tasks.contract import Given, Shown, Task
from seas_export.proof.tasks.table import find_task
from seas_export.proof.trainings.job import Job, contents_of, job_key
from seas_runtime.errors import UserError
from seas_runtime.files import json_bytes

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.proof.pictures import Pictures, Sample

PASTED_PAIRS = "copy_paste"
SIZE = 256
"""Pixels that the product is checked at; which photographs train does not depend on it."""
DEFAULT_PASTED = 200
SCHEMA = 1

Say = Callable[[str], object]


@dataclass(frozen=True)
class Prepared:
    """All that is known before a training begins."""

    task: Task
    shown: Shown
    arms: tuple[Arm, ...]
    """Of the first seed; others have the same names."""
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]
    about: dict[str, Any]


def prepare(request: ProveRequest, say: Say, pasting: Callable[[], object]) -> Prepared:
    """Read the product and the data sets, paste, and name the jobs. pasting: told when pairs were pasted."""
    from seas_train.data import load_product
    from seas_train.proof.pictures import Pictures

    options = request.options
    task = find_task(options.task)
    if request.device == "cuda":
        _require_gpu()
    product = load_product(request.directory, request.photographs, size=SIZE)
    pictures = Pictures(product.preprocessing)
    scale = options.scale or choose_scale(product, pictures)
    tested = task.tested(held_out(product, scale, options.half))
    named = [
        read_named(name, path, product, scale, tested, normals_do=not task.needs_pairs)
        for name, path in request.named.items()
    ]
    notes = [warning for one in named for warning in one.warnings]
    if options.seeds < LEAST_SEEDS:
        notes.append(f"{options.seeds} seeds: too few to tell chance from gain; take {LEAST_SEEDS} or more")
    pairs, normals = real_pairs(product, scale), real_normals(product, scale)
    pasted = None
    if options.copy_paste and task.pastes:
        pasted = _paste(request, pictures, pairs, normals, named, say)
        notes.append(
            f"copy-paste: {len(pasted.pairs) // len(product.defects)} pairs of each defect, by {pasted.way}"
        )
        pasting()
    given = Given(pairs, normals, pasted, named)
    notes += task.notes(given, options)
    for note in notes:
        say(note)
    known: dict[Sample, str] = {}
    recipe = task.recipe(options)
    jobs, arms = [], [task.arms(given, options, seed) for seed in range(options.seeds)]
    for seed, of_seed in enumerate(arms):
        for arm in of_seed:
            contents = contents_of(arm.sources, tested, known)
            key = job_key(recipe.to_dict(), seed, contents, product.preprocessing.to_dict())
            jobs.append(
                Job(
                    arm.name,
                    seed,
                    recipe,
                    arm.sources,
                    tested,
                    product.preprocessing,
                    request.device,
                    key,
                    task,
                )
            )
    about = _about(request, product, scale, tested, given)
    shown = Shown(product, pictures, tested)
    return Prepared(task, shown, tuple(arms[0]), tuple(jobs), tuple(notes), about)


def _paste(
    request: ProveRequest,
    pictures: Pictures,
    pairs: tuple[Sample, ...],
    normals: tuple[Sample, ...],
    named: list[NamedSet],
    say: Say,
) -> Pasted:
    """Paste as many pairs as are asked for, or as data sets have."""
    count = request.options.pasted or (max(one.per_defect() for one in named) if named else DEFAULT_PASTED)
    say(f"pasting {count} pairs of each defect")
    said = [VERSION, has_opencv(), [one.content() for one in (*pairs, *normals)]]
    folder = request.out / PASTED_PAIRS / hashlib.sha256(json_bytes(said)).hexdigest()[:12]
    return make_pasted(pictures, pairs, normals, folder, count, seed=0)


def _require_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError("--device cuda: expected a GPU that PyTorch can use, found none; leave it out")


def _about(
    request: ProveRequest, product: Product, scale: float, tested: tuple[Sample, ...], given: Given
) -> dict[str, Any]:
    """Return what a proof says of what it is a proof of."""
    from seas_export.machine.machine import describe_machine
    from seas_export.version import version
    from seas_runtime.manifest.types import GOOD

    good = sum(sample.defect == GOOD for sample in tested)
    return {
        "schema": SCHEMA,
        "task": request.options.task.value,
        "product": product.name,
        "fingerprint": product.fingerprint,
        "version": version(),
        "machine": describe_machine().in_words(),
        "options": request.described(),
        "scale": scale,
        "trained on": {"pairs": len(given.pairs), "normals": len(given.normals)},
        "tested on": {"half": request.options.half.value, "pairs": len(tested) - good, "normals": good},
        "sets": {one.name: {"pairs": len(one.pairs), "normals": len(one.normals)} for one in given.named},
    }
