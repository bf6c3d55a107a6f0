"""How long the trainings of a proof will take here, measured on a few steps and photographs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from seas_export.proof.trainings.job import Job, test
from seas_runtime.units import duration

STEPS, PHOTOGRAPHS = 3, 2
"""That are measured; a first step and a first photograph, which take longer, come before."""


@dataclass(frozen=True)
class ProofEstimate:
    """What the trainings take: seconds of a step and of a photograph's test, and of all on `workers`."""

    trainings: int
    kept: int
    """Trainings whose results are there already."""
    steps: int
    photographs: int
    workers: int
    step_seconds: float
    photograph_seconds: float

    @property
    def seconds(self) -> float:
        """Of all trainings and tests that are still to be done."""
        one = self.steps * self.step_seconds + self.photographs * self.photograph_seconds
        return one * -(-(self.trainings - self.kept) // self.workers)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "seconds": self.seconds}

    def words(self) -> str:
        """Say it in a line."""
        there = f", {self.kept} of them done already" if self.kept else ""
        return (
            f"{self.trainings} trainings of {self.steps} steps{there}, each tested on {self.photographs} "
            f"photographs, {self.workers} at a time: about {duration(self.seconds)} "
            f"({self.step_seconds:.2f} s a step, {self.photograph_seconds:.2f} s a photograph)"
        )


def estimate(jobs: Sequence[Job], kept: int, workers: int) -> ProofEstimate:
    """Measure a few steps and photographs of the first job that is to be done, with one thread."""
    import torch

    from seas_train.proof.fitting import fitting
    from seas_train.proof.pictures import Pictures

    job = jobs[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if workers > 1 else threads)
    try:
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
            test(model, pictures, sample, pictures.marking(sample).shape, job.device)
            times.append(time.monotonic() - start)
    finally:
        torch.set_num_threads(threads)
    photograph = sum(times[1:]) / len(times[1:]) if len(times) > 1 else times[0]
    return ProofEstimate(len(jobs) + kept, kept, job.recipe.steps, len(job.tested), workers, step, photograph)
