"""Telling photographs with a defect from normals by nearest neighbours: no defect trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seas_export.proof.measures.images import FIGURES, Scored, compare_scored
from seas_export.proof.request import ProofOptions
from seas_export.proof.results.summary import POOLED, Spread, Summary, compared
from seas_export.proof.sets.arms import REAL, Arm
from seas_export.proof.tasks.contract import Given, Outcome, Shown, Task
from seas_export.proof.trainings.job import Arrays, Cost, Job
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD

if TYPE_CHECKING:
    from seas_train.proof.neighbours.memory import MemoryRecipe
    from seas_train.proof.pictures import Sample

ALL = "all real normals"
"""What more photographs of normals would give."""
ROUNDS = 20
"""Of choosing a coreset that are measured."""


class Remembering(Task):
    """Nearest neighbours among the features of normals, as PatchCore has them."""

    pastes = False
    needs_pairs = False

    def recipe(self, options: ProofOptions) -> MemoryRecipe:
        """Return how features are remembered."""
        from seas_train.proof.neighbours.memory import MemoryRecipe

        return MemoryRecipe()

    def in_words(self, options: ProofOptions) -> str:
        """Say what is remembered."""
        recipe = self.recipe(options)
        return (
            f"nearest neighbours of EfficientNet-Lite0's features, {options.few} real normals, a coreset of "
            f"{100 * recipe.kept:.0f} %, {options.seeds} seeds"
        )

    def tested(self, held_out: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Return all held-out photographs."""
        return held_out

    def arms(self, given: Given, options: ProofOptions, seed: int) -> list[Arm]:
        """Return few real normals, drawn by the seed, with and without generated ones; and all real ones."""
        from seas_train.proof.crops import Sources

        order = np.random.default_rng(seed).permutation(len(given.normals))
        few = tuple(given.normals[int(place)] for place in order[: options.few])
        made = [Arm(REAL, Sources(real_normals=few)), Arm(ALL, Sources(real_normals=given.normals))]
        for one in given.named:
            if not one.normals:
                raise UserError(
                    f"--with {one.name}={one.path}: --images expects normals in the data set, found none; "
                    "generate some: --defect good"
                )
            both = Sources(real_normals=few, made_normals=one.normals)
            made.append(Arm(f"real + {one.name}", both, (REAL,)))
            if options.alone:
                made.append(Arm(f"{one.name} alone", Sources(made_normals=one.normals), (REAL,)))
        return made

    def notes(self, given: Given, options: ProofOptions) -> list[str]:
        """Say how many normals there are."""
        counts = ", ".join(f"{one.name} has {len(one.normals)}" for one in given.named)
        return [
            f"normals: {min(options.few, len(given.normals))} of {len(given.normals)} real ones; {counts}"
        ]

    def steps(self, job: Job) -> int:
        """Return how many pictures are encoded."""
        return len(job.sources.real_normals) + len(job.sources.made_normals)

    def run(self, job: Job, done: Callable[[int], object]) -> Arrays:
        """Remember, and score each photograph."""
        from seas_train.proof.neighbours.memory import lite0_encoder, remember, score_of
        from seas_train.proof.pictures import Pictures

        encoder, pictures = lite0_encoder(job.device), Pictures(job.preprocessing)
        bank = remember(job.recipe, encoder, pictures, job.sources, job.seed, job.device, done)
        return {
            "scores": np.array([score_of(encoder, bank, pictures, one, job.device) for one in job.tested]),
            "remembered": np.array(len(bank)),
        }

    def check(self, arrays: Arrays, photographs: int) -> None:
        """Raise KeyError or ValueError where arrays are no scores."""
        if arrays["scores"].shape != (photographs,):
            raise ValueError("not a score of each photograph")

    def measure(self, job: Job) -> Cost:
        """Measure a picture's encoding, a few rounds of the coreset's choice, and a photograph's score."""
        from seas_train.proof.neighbours.coreset import choose_coreset
        from seas_train.proof.neighbours.memory import features_of, lite0_encoder, score_of
        from seas_train.proof.pictures import Pictures

        encoder, pictures = lite0_encoder(job.device), Pictures(job.preprocessing)
        first = (*job.sources.real_normals, *job.sources.made_normals)[0]
        features_of(encoder, pictures, first, job.device)
        start = time.monotonic()
        found = features_of(encoder, pictures, first, job.device)
        encoded = time.monotonic() - start
        count = min(job.recipe.most, len(found) * self.steps(job))
        pool = np.resize(found, (count, found.shape[1]))
        start = time.monotonic()
        choose_coreset(pool, ROUNDS, np.random.default_rng(0))
        chosen = (time.monotonic() - start) / ROUNDS * job.recipe.kept * count
        bank = pool[: max(1, round(job.recipe.kept * count))]
        start = time.monotonic()
        score_of(encoder, bank, pictures, job.tested[0], job.device)
        return Cost(self.steps(job), encoded + chosen / self.steps(job), time.monotonic() - start)

    def outcome(
        self, shown: Shown, found: Mapping[str, Sequence[Arrays]], against: Mapping[str, Sequence[str]]
    ) -> Outcome:
        """Return image AUROC and AP, of all and of each defect against the normals."""
        kinds = np.array([sample.defect for sample in shown.tested])
        scored = {
            arm: [Scored(one["scores"], kinds != GOOD) for one in seeds] for arm, seeds in found.items()
        }
        defects = [name for name in dict.fromkeys(kinds.tolist()) if name != GOOD]
        scopes = {POOLED: kinds == kinds, **{d: (kinds == d) | (kinds == GOOD) for d in defects}}
        figures = {
            arm: {
                scope: {
                    name: Spread.of([one.of(chosen).figures()[name] for one in seeds]) for name in FIGURES
                }
                for scope, chosen in scopes.items()
            }
            for arm, seeds in scored.items()
        }
        differences = compared(
            scored, against, scopes, kinds, lambda one, chosen: one.of(chosen), compare_scored
        )
        remembered = {arm: [int(one["remembered"]) for one in seeds] for arm, seeds in found.items()}
        return Outcome(Summary(figures, differences), FIGURES, {"remembered": remembered})
