"""Contestants of this repository: the PyTorch reference, and the runtime on each backend."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from comparison.task import Outcome, Task

RUNTIME_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx", "numpy")


def run_pytorch(task: Task, dtype: str, compiled: bool) -> Outcome:
    """Make the pairs as the authors' code does: hooks, four whole decodes, the scheduler in Python."""
    began = time.perf_counter()
    import torch

    from seas_export.methods.seas.reference import ReferenceLoop

    torch.set_num_threads(task.threads)
    loop = ReferenceLoop(
        Path(task.checkpoint),
        task.steps,
        mask_steps=task.mask_steps,
        device=task.device,
        dtype=dtype,
        compiled=compiled,
    )
    loaded = time.perf_counter()
    if compiled:
        loop.prepare(task.batch)

    def make(start: int, count: int) -> Iterable[Any]:
        return loop.generate(
            task.defect, count, task.seed, start=start, batch=task.batch, guidance=task.guidance
        )

    return _measure(task, began, loaded, make, ("torch", "diffusers", "transformers"))


def run_ours(task: Task, backend: str) -> Outcome:
    """Make the pairs with the runtime."""
    began = time.perf_counter()
    from seas_runtime.generation.generator import Generator
    from seas_runtime.methods.seas_options import SeasOptions

    generator = Generator.open(Path(task.bundle), backend, task.threads)
    loaded = time.perf_counter()
    times: list[dict[str, float]] = []

    def make(start: int, count: int) -> Iterable[Any]:
        options: dict[str, Any] = {
            "sampler": task.sampler,
            "steps": task.steps,
            "guidance": task.guidance,
            "gate": False,
        }
        if task.mask_steps != generator.manifest.generation.get("mask_steps"):
            options["options"] = SeasOptions(mask_steps=task.mask_steps)
        for pair in generator.generate(
            task.defect, count, task.seed, start=start, batch=task.batch, **options
        ):
            times.append(pair.record.times.to_dict())
            yield pair

    outcome = _measure(task, began, loaded, make, RUNTIME_PACKAGES)
    timed = times[task.warm_up :]
    parts = {key: float(np.mean([entry[key] for entry in timed])) for key in timed[0]}
    identity = generator.backend.identity(generator.bundle)
    precision = identity.get("precision", generator.manifest.precision)
    return Outcome(**{**vars(outcome), "parts": parts, "precision": precision})


def _measure(task: Task, began: float, loaded: float, make: Any, packages: tuple[str, ...]) -> Outcome:
    """Make the warm-up's pairs, then the timed ones, a batch at a time by the wall clock."""
    started = time.perf_counter()
    if task.warm_up:
        list(make(0, task.warm_up))
    warm = time.perf_counter()
    seconds: list[float] = []
    processor: list[float] = []
    images, probabilities = [], []
    for first in range(task.warm_up, task.warm_up + task.pairs, task.batch):
        count = min(task.batch, task.warm_up + task.pairs - first)
        before, spent = time.perf_counter(), time.process_time()
        for pair in make(first, count):
            images.append(pair.image)
            probabilities.append(pair.probability)
        seconds += [(time.perf_counter() - before) / count] * count
        processor += [(time.process_time() - spent) / count] * count
    return Outcome(
        seconds=seconds,
        processor_seconds=processor,
        load_seconds=loaded - began,
        warm_up_seconds=started - loaded + warm - started,
        images=np.stack(images),
        probabilities=np.stack(probabilities),
        packages=versions(packages),
        device_gib=_device_memory(),
    )


def _device_memory() -> float | None:
    """Return the GiB of the GPU that are in use."""
    from seas_runtime.backends.cuda.device import find_cuda_device

    device = find_cuda_device(free=True)
    if device is None or device.free is None:
        return None
    return round((device.memory - device.free) / 2**30, 2)


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    from seas_export.version import installed

    return {package: found for package in packages if (found := installed(package)) is not None}
