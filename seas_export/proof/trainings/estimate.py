"""How long the trainings of a proof will take here, measured on a few steps and photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seas_export.proof.trainings.job import Job
from seas_runtime.units import duration


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
    """Measure a few steps and photographs of the longest job that is to be done, with one thread."""
    import torch

    job = max(jobs, key=lambda one: one.steps)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if workers > 1 else threads)
    try:
        cost = job.work.measure(job)
    finally:
        torch.set_num_threads(threads)
    return ProofEstimate(
        len(jobs) + kept,
        kept,
        cost.steps,
        len(job.tested),
        workers,
        cost.step_seconds,
        cost.photograph_seconds,
    )
