"""Finding the pixels of defects: a segmenter, see `seas_train.proof`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_export.proof.measures.counts import Counts, count
from seas_export.proof.measures.maps import Tested, shown_map
from seas_export.proof.request import ProofOptions
from seas_export.proof.results import picture
from seas_export.proof.results.summary import summarize
from seas_export.proof.results.table import SEGMENTER_COLUMNS
from seas_export.proof.sets.arms import PASTED, REAL, Arm, make_arms
from seas_export.proof.tasks.contract import Given, Outcome, Shown, Task
from seas_export.proof.trainings.job import Arrays, Cost, Job

if TYPE_CHECKING:
    from seas_train.proof.fitting import Recipe
    from seas_train.proof.pictures import Pictures, Sample
    from seas_train.proof.segmenters.contract import Segmenter

STEPS, PHOTOGRAPHS = 3, 2
"""That are measured; a first step and a first photograph, which take longer, come before."""


class Segmenting(Task):
    """A segmenter on crops, tested in tiles."""

    def recipe(self, options: ProofOptions) -> Recipe:
        """Return how each segmenter is trained."""
        return options.recipe

    def in_words(self, options: ProofOptions) -> str:
        """Say the segmenter and its training."""
        recipe = options.recipe
        return (
            f"{recipe.segmenter}, {'pretrained' if _is_pretrained(recipe) else 'not pretrained'}, "
            f"{recipe.steps} steps of {recipe.batch} crops of {recipe.crop} px, {options.seeds} seeds"
        )

    def tested(self, held_out: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Return all held-out photographs."""
        return held_out

    def arms(self, given: Given, options: ProofOptions, seed: int) -> list[Arm]:
        """Return real pairs, the same with others, and others alone."""
        return make_arms(
            given.pairs,
            given.normals,
            given.pasted,
            given.named,
            options.recipe.share,
            options.alone,
            _draws(options.recipe),
        )

    def notes(self, given: Given, options: ProofOptions) -> list[str]:
        """Say what is drawn into normals, where anything is; checks the folder of textures."""
        from seas_train.proof.anomalies import texture_files

        recipe = options.recipe
        if not _draws(recipe):
            return []
        if recipe.textures is None:
            what = "the product's own photographs, shuffled (no --textures)"
        else:
            what = f"{len(texture_files(recipe.textures))} pictures of --textures"
        return [
            f"{recipe.segmenter}: half of the crops around defects are normals with anomalies drawn from "
            f"{what}"
        ]

    def steps(self, job: Job) -> int:
        """Return the recipe's steps."""
        return int(job.recipe.steps)

    def run(self, job: Job, done: Callable[[int], object]) -> Arrays:
        """Train, and count on each photograph."""
        from seas_train.proof.fitting import fit
        from seas_train.proof.pictures import Pictures

        pictures = Pictures(job.preprocessing)
        model = fit(job.recipe, pictures, job.sources, job.seed, job.device, done)
        made: list[Counts] = []
        maps: list[NDArray[np.uint8]] = []
        for sample in job.tested:
            mask = pictures.marking(sample)
            logits = find(model, pictures, sample, mask.shape, job.device)
            made.append(count(logits, mask))
            maps.append(shown_map(logits))
        return Tested(Counts.joined(made), tuple(maps)).arrays()

    def check(self, arrays: Arrays, photographs: int) -> None:
        """Raise KeyError or ValueError where arrays are none of a segmenter's test."""
        if len(Tested.of(arrays).maps) != photographs:
            raise ValueError("not the maps of all photographs")

    def measure(self, job: Job) -> Cost:
        """Measure a few steps and photographs."""
        from seas_train.proof.fitting import fitting
        from seas_train.proof.pictures import Pictures

        pictures = Pictures(job.preprocessing)
        steps = fitting(job.recipe, pictures, job.sources, job.seed, job.device)
        model, _ = next(steps)
        start = time.monotonic()
        done = sum(1 for _ in islice(steps, STEPS))
        step = (time.monotonic() - start) / max(done, 1)
        model.eval()
        spread = job.tested[:: max(1, len(job.tested) // (PHOTOGRAPHS + 1))][: PHOTOGRAPHS + 1]
        times = []
        for sample in spread:
            start = time.monotonic()
            find(model, pictures, sample, pictures.marking(sample).shape, job.device)
            times.append(time.monotonic() - start)
        photograph = sum(times[1:]) / len(times[1:]) if len(times) > 1 else times[0]
        return Cost(self.steps(job), step, photograph)

    def outcome(
        self, shown: Shown, found: Mapping[str, Sequence[Arrays]], against: Mapping[str, Sequence[str]]
    ) -> Outcome:
        """Return the figures of pixels, images and regions."""
        counts = {arm: [Tested.of(one).counts for one in seeds] for arm, seeds in found.items()}
        summary = summarize(counts, against, [sample.defect for sample in shown.tested])
        return Outcome(summary, SEGMENTER_COLUMNS)

    def draw(self, file: Path, shown: Shown, found: Mapping[str, Sequence[Arrays]]) -> bool:
        """Draw where the first data set, or copy-paste without one, helped and harmed."""
        tested = {arm: [Tested.of(one) for one in seeds] for arm, seeds in found.items()}
        ours = next((name for name in tested if name.startswith("real + ") and name != PASTED), None)
        ours = ours or (PASTED if PASTED in tested else next(name for name in tested if name != REAL))
        kinds = [sample.defect for sample in shown.tested]
        best, worst = picture.telling(
            [one.counts for one in tested[ours]], [one.counts for one in tested[REAL]], kinds
        )
        photographs = {}
        for index in (*best, *worst):
            sample = shown.tested[index]
            image = np.asarray(shown.product.photograph(sample.image))
            caption = f"{sample.defect}\n{sample.image.name}"
            photographs[index] = (image, shown.pictures.marking(sample), caption)
        maps = {
            name: {index: [one.maps[index] for one in seeds] for index in photographs}
            for name, seeds in tested.items()
        }
        picture.draw(file, photographs, maps, best, worst)
        return True


def find(
    model: Segmenter, pictures: Pictures, sample: Sample, size: tuple[int, ...], device: str
) -> NDArray[np.float32]:
    """Return a photograph's logits [H, W] at its own size, whatever the scale that it is seen at."""
    from seas_train.proof.tiles import find_defects

    logits = find_defects(model, pictures.read(sample)[0], device)
    if logits.shape == size:
        return logits
    grown = Image.fromarray(logits).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(grown, np.float32)


def _draws(recipe: Recipe) -> bool:
    from seas_train.proof.segmenters.table import DRAWING

    return recipe.segmenter in DRAWING


def _is_pretrained(recipe: Recipe) -> bool:
    from seas_train.proof.segmenters.table import PRETRAINED

    return recipe.pretrained and recipe.segmenter in PRETRAINED
