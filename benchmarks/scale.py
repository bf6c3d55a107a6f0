"""Whether pairs per second hold as work grows: batch 1 to 16, and two processes on two cores.

    python benchmarks/scale.py --bundle out/bottle/bundle

Batches: one process with all cores makes the same number of pairs at batch 1, 2, 4, 8 and 16. Processes: two
of them with one thread each, at once, against one process with one thread and one with two. Rounds go through
all of it in turn and medians count, so that whatever else the machine does falls on each. Writes
benchmarks/results/scale.json. Exits with 1 where throughput falls by more than 5 % from one batch size to a
larger one, or from one process to two.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

from seas_runtime.backends.auto import candidates
from seas_runtime.generation.generator import Generator

ALLOWED = 0.95
CHILD = """
import sys, time
from pathlib import Path
from seas_runtime.generation.generator import Generator
bundle, backend, threads, pairs, batch = sys.argv[1:]
generator = Generator.open(Path(bundle), backend, int(threads), verify=False)
defect = generator.manifest.defects[0]
list(generator.generate(defect, int(batch), 0, batch=int(batch), gate=False))
print("ready", flush=True)
sys.stdin.readline()
begun = time.perf_counter()
list(generator.generate(defect, int(pairs), 0, batch=int(batch), gate=False))
print(time.perf_counter() - begun, flush=True)
"""


def together(bundle: Path, backend: str, processes: int, threads: int, pairs: int, batch: int) -> float:
    """Return pairs per second of processes that begin at once, after each has warmed up."""
    words = [sys.executable, "-c", CHILD, *map(str, (bundle, backend, threads, pairs, batch))]
    pipe = subprocess.PIPE
    children = [subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) for _ in range(processes)]
    for child in children:
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            raise SystemExit(f"{backend}: a process failed")
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    seconds = [float(child.communicate()[0]) for child in children]
    return processes * pairs / max(seconds)


def by_batch(generator: Generator, batches: list[int], pairs: int) -> dict[int, float]:
    """Return pairs per second at each batch size, once."""
    defect = generator.manifest.defects[0]
    rates = {}
    for batch in batches:
        list(generator.generate(defect, batch, 0, batch=batch, gate=False))
        begun = time.perf_counter()
        list(generator.generate(defect, pairs, 0, batch=batch, gate=False))
        rates[batch] = pairs / (time.perf_counter() - begun)
    return rates


def measure(bundle: Path, backend: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return medians over the rounds of one backend, and what they fall by."""
    generator = Generator.open(bundle, backend, 2)
    rounds: list[dict[int, float]] = []
    processes: dict[str, list[float]] = {"1x1": [], "1x2": [], "2x1": []}
    for number in range(options.rounds):
        rounds.append(by_batch(generator, options.batches, options.pairs))
        for name, rates in processes.items():
            count, threads = (int(word) for word in name.split("x"))
            rates.append(together(bundle, backend, count, threads, options.pairs, options.process_batch))
        print(f"{backend}: round {number + 1} of {options.rounds}", flush=True)
    batches = {size: statistics.median(rates[size] for rates in rounds) for size in options.batches}
    medians = {name: statistics.median(rates) for name, rates in processes.items()}
    best, worst_batch = 0.0, 1.0
    for size in sorted(batches):
        if best:
            worst_batch = min(worst_batch, batches[size] / best)
        best = max(best, batches[size])
    # A second process at least takes up what one process with both cores gets out of them.
    worst_process = medians["2x1"] / medians["1x2"]
    return {
        "pairs_per_second_by_batch": {str(size): round(rate, 4) for size, rate in batches.items()},
        "pairs_per_second_by_processes_x_threads": {name: round(rate, 4) for name, rate in medians.items()},
        "rounds": options.rounds,
        "largest_fall_with_batch": round(1 - worst_batch, 4),
        "fall_from_one_process_to_two": round(1 - worst_process, 4),
        "passed": worst_batch >= ALLOWED and worst_process >= ALLOWED,
    }


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("scale", __doc__)
    parser.add_argument("--bundle", type=Path, default=Path("out/bottle/bundle"))
    parser.add_argument("--backends", nargs="+", help="by default those that are usable here")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--process-batch", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    names = options.backends or [item.backend for item in candidates(options.bundle) if item.usable]
    figures = {name: measure(options.bundle, name, options) for name in names}
    passed = all(figure["passed"] for figure in figures.values())
    write_result(
        options.out,
        {
            "benchmark": "scale",
            "allowed_fall": round(1 - ALLOWED, 2),
            "passed": passed,
            "pairs": options.pairs,
            "process_batch": options.process_batch,
            "backends": figures,
        },
    )
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
