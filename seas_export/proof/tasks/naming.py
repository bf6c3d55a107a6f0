"""Naming the defect of a photograph that has one: a classifier on whole pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_export.proof.measures.classes import Named, class_figures, compare_named
from seas_export.proof.request import ProofOptions
from seas_export.proof.results.summary import POOLED, Spread, Summary, compared
from seas_export.proof.results.table import grid
from seas_export.proof.sets.arms import Arm, make_arms
from seas_export.proof.tasks.contract import Given, Outcome, Shown, Task
from seas_export.proof.trainings.job import Arrays, Cost, Job
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD

if TYPE_CHECKING:
    from seas_train.proof.classifiers.fitting import ClassifierRecipe
    from seas_train.proof.pictures import Sample

STEPS = 3
"""That are measured, after a first one, which takes longer."""
COLUMNS = ("accuracy", "balanced")


class Naming(Task):
    """A classifier, tested on held-out photographs with a defect."""

    def recipe(self, options: ProofOptions) -> ClassifierRecipe:
        """Return how each classifier is trained."""
        return options.naming

    def in_words(self, options: ProofOptions) -> str:
        """Say the classifier and its training."""
        recipe = options.naming
        return (
            f"{recipe.classifier}, {recipe.steps} steps of {recipe.batch} whole pictures at {recipe.side} "
            f"px, {options.seeds} seeds"
        )

    def tested(self, held_out: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Return the photographs with a defect; UserError where all are of one defect."""
        found = tuple(sample for sample in held_out if sample.defect != GOOD)
        if len(names := {sample.defect for sample in found}) < 2:
            raise UserError(
                f"--task classify: expected photographs of two defects or more to tell apart, found those of "
                f"{', '.join(sorted(names)) or 'none'}"
            )
        return found

    def arms(self, given: Given, options: ProofOptions, seed: int) -> list[Arm]:
        """Return real pairs, the same with others, and others alone."""
        return make_arms(
            given.pairs, given.normals, given.pasted, given.named, options.recipe.share, options.alone
        )

    def steps(self, job: Job) -> int:
        """Return the recipe's steps."""
        return int(job.recipe.steps)

    def run(self, job: Job, done: Callable[[int], object]) -> Arrays:
        """Train, and name each photograph."""
        from seas_train.proof.classifiers.fitting import fitting, name_defect
        from seas_train.proof.pictures import Pictures

        pictures, names = Pictures(job.preprocessing), _names(job)
        model: Any = None
        for model, step in fitting(job.recipe, pictures, job.sources, names, job.seed, job.device):  # noqa: B007
            done(step)
        model.eval()
        found = [name_defect(model, pictures, one, job.recipe.side, job.device) for one in job.tested]
        return Named(np.stack(found), np.array(names), np.array([one.defect for one in job.tested])).arrays()

    def check(self, arrays: Arrays, photographs: int) -> None:
        """Raise KeyError or ValueError where arrays are none of a classifier's test."""
        if len(Named.from_arrays(arrays).shown) != photographs:
            raise ValueError("not the names of all photographs")

    def measure(self, job: Job) -> Cost:
        """Measure a few steps and a photograph."""
        from seas_train.proof.classifiers.fitting import fitting, name_defect
        from seas_train.proof.pictures import Pictures

        pictures = Pictures(job.preprocessing)
        steps = fitting(job.recipe, pictures, job.sources, _names(job), job.seed, job.device)
        model, _ = next(steps)
        start = time.monotonic()
        done = sum(1 for _ in islice(steps, STEPS))
        middle = time.monotonic()
        name_defect(model.eval(), pictures, job.tested[0], job.recipe.side, job.device)
        return Cost(self.steps(job), (middle - start) / max(done, 1), time.monotonic() - middle)

    def outcome(
        self, shown: Shown, found: Mapping[str, Sequence[Arrays]], against: Mapping[str, Sequence[str]]
    ) -> Outcome:
        """Return the accuracy, pooled and of each defect, and which defects are taken for which."""
        named = {arm: [Named.from_arrays(one) for one in seeds] for arm, seeds in found.items()}
        kinds = np.array([sample.defect for sample in shown.tested])
        scopes = {POOLED: kinds == kinds, **{name: kinds == name for name in dict.fromkeys(kinds.tolist())}}
        figures = {
            arm: {
                scope: {
                    figure: Spread.of([class_figures(one.of(chosen))[figure] for one in seeds])
                    for figure in COLUMNS
                }
                for scope, chosen in scopes.items()
            }
            for arm, seeds in named.items()
        }
        differences = compared(
            named, against, scopes, kinds, lambda one, chosen: one.of(chosen), compare_named
        )
        tables = {arm: _confusion(seeds) for arm, seeds in named.items()}
        pages = [_page(arm, names, counts) for arm, (names, counts) in tables.items()]
        more = {
            "confusion": {arm: {"names": names, "counts": counts} for arm, (names, counts) in tables.items()}
        }
        return Outcome(Summary(figures, differences), COLUMNS, more, tuple(pages))


def _names(job: Job) -> list[str]:
    """Return the defects that a classifier tells apart: those that train and those that are tested."""
    sources = job.sources
    return sorted({sample.defect for sample in (*sources.real, *sources.made, *job.tested)})


def _confusion(seeds: Sequence[Named]) -> tuple[list[str], list[list[int]]]:
    """Return the defects' names, and counts [D, D] over all seeds: rows are shown, columns said."""
    names = sorted({name for one in seeds for name in (*one.names.tolist(), *one.shown.tolist())})
    counts = np.zeros((len(names), len(names)), int)
    for one in seeds:
        for shown, said in zip(one.shown.tolist(), one.said.tolist(), strict=True):
            counts[names.index(shown), names.index(said)] += 1
    return names, counts.tolist()


def _page(arm: str, names: list[str], counts: list[list[int]]) -> str:
    """Return a confusion table in Markdown."""
    rows = [(name, *map(str, row)) for name, row in zip(names, counts, strict=True)]
    lines = grid(("shown \\ named", *names), rows)
    return "\n".join([f"## What {arm} names, all seeds", "", *lines])
