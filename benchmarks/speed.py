"""Pairs per second of the runtime against the authors' loop in PyTorch, in one run on one machine.

    python benchmarks/speed.py --checkpoint out/bottle/checkpoint --bundle out/bottle/bundle

Both make the same pairs with the same number of threads, PyTorch in inference mode. Rounds go through every
batch size of both in turn, so that whatever else the machine does falls on both; each is judged by its best
batch size, by medians. Writes benchmarks/results/speed.json. Exits with 1 under 1.5 times PyTorch's pairs per
second.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from machine import result_parser, write_result

from seas_export.methods.seas.reference import ReferenceLoop
from seas_runtime.generation.generator import Generator

BAR = 1.5
Make = Callable[[int], Iterable[object]]


def measure(makers: dict[str, Make], batches: list[int], rounds: int) -> dict[str, dict[int, list[float]]]:
    """Return seconds per pair of every round, by maker and batch size."""
    seconds: dict[str, dict[int, list[float]]] = {name: {size: [] for size in batches} for name in makers}
    for make in makers.values():
        list(make(1))  # warm up: memory arenas, lazy initialisation
    for number in range(rounds):
        for size in batches:
            for name, make in makers.items():
                began = time.perf_counter()
                made = len(list(make(size)))
                seconds[name][size].append((time.perf_counter() - began) / made)
        print(f"round {number + 1} of {rounds}", flush=True)
    return seconds


def summarise(seconds: dict[int, list[float]]) -> dict[str, object]:
    """Return medians per batch size, and the best of them."""
    medians = {size: statistics.median(values) for size, values in seconds.items()}
    best = min(medians, key=lambda size: medians[size])
    return {
        "best_batch": best,
        "pairs_per_second": round(1 / medians[best], 4),
        "batches": [
            {
                "batch": size,
                "pairs_per_second": round(1 / medians[size], 4),
                "seconds_per_pair": [round(value, 4) for value in values],
            }
            for size, values in seconds.items()
        ],
    }


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("speed", __doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("out/bottle/checkpoint"))
    parser.add_argument("--bundle", type=Path, default=Path("out/bottle/bundle"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    generator = Generator.open(options.bundle, threads=options.threads)
    sampler, generation = generator.manifest.sampler, generator.manifest.generation
    loop = ReferenceLoop(options.checkpoint, sampler.steps, sampler.name, generation["mask_steps"])
    defect = generator.manifest.defects[0]
    makers: dict[str, Make] = {
        "runtime": lambda size: generator.generate(defect, size, batch=size, gate=False),
        "pytorch": lambda size: loop.generate(defect, size, batch=size),
    }
    seconds = measure(makers, options.batches, options.rounds)
    figures = {name: summarise(values) for name, values in seconds.items()}
    ratio = float(str(figures["runtime"]["pairs_per_second"])) / float(
        str(figures["pytorch"]["pairs_per_second"])
    )
    write_result(
        options.out,
        {
            "benchmark": "speed",
            "product": generator.manifest.product,
            "base": generator.manifest.provenance["base"]["name"],
            "steps": sampler.steps,
            "threads": options.threads,
            "rounds": options.rounds,
            "ratio": round(ratio, 3),
            "bar": BAR,
            "passed": ratio >= BAR,
            **figures,
        },
    )
    for name, figure in figures.items():
        print(f"{name:>8}: {figure['pairs_per_second']} pairs/s at batch {figure['best_batch']}")
    print(f"   ratio: {ratio:.2f} (at least {BAR})")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
