"""Runs jobs side by side, a thread each, and keeps the file of each as soon as it is done."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from seas_export.proof.trainings.job import Arrays, Job, read_arrays, write_arrays

_STEPS: Any = None
"""In a worker: where it tells its steps."""
_LOOK = 0.5
"""Seconds between looks at the workers' steps."""

Say = Callable[[str], object]


def finished(job: Job, folder: Path) -> Arrays | None:
    """Return a job's results; None where there are none, or its file is damaged."""
    try:
        found = read_arrays(job.file(folder))
        job.work.check(found, len(job.tested))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found


def run_job(job: Job, folder: Path, done: Callable[[int], object] = lambda steps: None) -> None:
    """Train and test, and write the results' file, whole or not at all. done: told the steps done."""
    write_arrays(job.file(folder), job.work.run(job, done))


def run_jobs(
    jobs: Sequence[Job],
    folder: Path,
    workers: int,
    progress: Callable[[int, int], object],
    say: Say,
) -> None:
    """Run all jobs; `progress` is told the steps done and all steps, `say` each job's end.

    Whatever a job raises ends the others too; files that were written stay.
    """
    total = sum(job.steps for job in jobs)
    if workers < 2 or len(jobs) < 2:
        before = 0
        for job in jobs:
            start = time.monotonic()
            run_job(job, folder, lambda steps, before=before: progress(before + steps, total))  # type: ignore[misc]
            before += job.steps
            say(f"{job.name}: {time.monotonic() - start:.0f} s")
        return
    _side_by_side(jobs, folder, min(workers, len(jobs)), lambda done: progress(done, total), say)


def _side_by_side(
    jobs: Sequence[Job], folder: Path, workers: int, progress: Callable[[int], object], say: Say
) -> None:
    context = multiprocessing.get_context("spawn")  # a fork of a process with PyTorch's threads may hang
    steps = context.Queue()
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read where PyTorch is imported
    done = 0
    try:
        with ProcessPoolExecutor(workers, context, _begin, (steps,)) as pool:
            starts = time.monotonic()
            waiting: dict[Future[float], Job] = {pool.submit(_work, job, folder): job for job in jobs}
            try:
                while waiting:
                    ended, _ = wait(waiting, timeout=_LOOK, return_when=FIRST_COMPLETED)
                    done += _told(steps)
                    progress(done)
                    for future in ended:
                        job = waiting.pop(future)
                        seconds = future.result()
                        say(f"{job.name}: {seconds:.0f} s; {time.monotonic() - starts:.0f} s since the start")
            except BaseException:
                for process in list((pool._processes or {}).values()):  # they would finish their jobs first
                    process.terminate()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        if threads is None:
            os.environ.pop("OMP_NUM_THREADS")
        else:
            os.environ["OMP_NUM_THREADS"] = threads


def _told(steps: Any) -> int:
    """Return how many steps the workers have told since the last look."""
    count = 0
    while True:
        try:
            count += steps.get_nowait()
        except queue.Empty:
            return count


def _begin(steps: Any) -> None:
    """Prepare a worker: one thread, and Ctrl-C is its parent's."""
    global _STEPS
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    _STEPS = steps


def _work(job: Job, folder: Path) -> float:
    """Run a job in a worker; returns its seconds."""
    start = time.monotonic()
    run_job(job, folder, lambda step: _STEPS.put(1))
    return time.monotonic() - start
