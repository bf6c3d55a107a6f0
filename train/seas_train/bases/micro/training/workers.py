"""Data-parallel training over processes of one thread each.

On a machine that is shared, two threads of one process wait for each other at every operation; two processes
wait for each other once a step.
"""

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


def rank() -> int:
    """Number of this worker, 0 for the first and for a process that works alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def average_over_workers(gradients: list[torch.Tensor], extra: list[float]) -> list[float]:
    """Replace `gradients` by their means over all workers; returns the means of the numbers in `extra`."""
    if not dist.is_initialized():
        return extra
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients] + [torch.tensor(extra)])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    position = 0
    for gradient in gradients:
        gradient.copy_(flat[position : position + gradient.numel()].view_as(gradient))
        position += gradient.numel()
    return [float(number) for number in flat[position:]]


def barrier() -> None:
    """Wait for all workers."""
    if dist.is_initialized():
        dist.barrier()


def run_workers(work: Callable[[], object], count: int) -> None:
    """Run `work` (picklable) in `count` processes of one thread each; here, if `count` is 1."""
    if count == 1:
        work()
        return
    with tempfile.TemporaryDirectory() as folder:
        spawn(_worker, args=(work, count, str(Path(folder) / "store")), nprocs=count)  # type: ignore[no-untyped-call]


def _worker(number: int, work: Callable[[], object], count: int, store: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=number, world_size=count)
    try:
        work()
    finally:
        dist.destroy_process_group()
