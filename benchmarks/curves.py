"""How the cost of a pair grows: with batch size, steps, threads, and the size of the image.

    seas-export base untrained micro curves/256 --size 256
    seas-export export curves/256 --out curves/bundle256 --no-parity
    python benchmarks/curves.py --bundles curves/bundle256 curves/bundle384 curves/bundle512

Batch size, steps and threads are measured on the first bundle, resolution on all of them. Every point is a
median of --rounds after one round of warm-up. Writes benchmarks/results/curves.json, and a plot with --plot.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from machine import plot_axes, result_parser, write_result
from operations import count_pair

from seas_runtime.generation.generator import Generator

STEPS = (10, 15, 20, 25, 50)


def seconds_per_pair(
    generator: Generator, rounds: int, batch: int = 1, steps: int | None = None
) -> list[float]:
    """Return a pair's seconds in each round, after a first one that is not counted."""
    defect = generator.manifest.defects[0]
    made = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        list(generator.generate(defect, batch, batch=batch, steps=steps, gate=False))
        if number:
            made.append(round((time.perf_counter() - began) / batch, 4))
    return made


def point(key: str, value: int, seconds: list[float]) -> dict[str, Any]:
    """Return one point of a curve."""
    return {key: value, "seconds_per_pair": round(statistics.median(seconds), 4), "rounds": seconds}


def measure(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the four curves."""
    first, rounds = options.bundles[0], options.rounds
    generator = Generator.open(first, options.backend, options.threads)
    curves: dict[str, list[dict[str, Any]]] = {}
    curves["batch"] = [
        point("batch", size, seconds_per_pair(generator, rounds, size)) for size in options.batches
    ]
    curves["steps"] = [
        point("steps", steps, seconds_per_pair(generator, rounds, steps=steps)) for steps in STEPS
    ]
    del generator
    curves["threads"] = []
    for threads in options.thread_counts:
        opened = Generator.open(first, options.backend, threads)
        curves["threads"].append(point("threads", threads, seconds_per_pair(opened, rounds)))
    curves["resolution"] = []
    for bundle in options.bundles:
        opened = Generator.open(bundle, options.backend, options.threads)
        entry = point("pixels", opened.manifest.image.width, seconds_per_pair(opened, rounds))
        entry["tflop_per_pair"] = round(count_pair(bundle, opened.manifest).ours / 1e12, 5)
        curves["resolution"].append(entry)
    return curves


def plot(curves: dict[str, list[dict[str, Any]]], title: str, file: Path) -> None:
    """Draw the four curves side by side."""
    keys = {"batch": "batch", "steps": "steps", "threads": "threads", "resolution": "pixels"}
    with plot_axes(file, 12, 3, columns=len(keys), title=title) as axes:
        for axis, (name, key) in zip(axes, keys.items(), strict=True):
            axis.plot(
                [entry[key] for entry in curves[name]],
                [entry["seconds_per_pair"] for entry in curves[name]],
                marker="o",
                color="#2563eb",
            )
            axis.set(xlabel=name, ylim=(0, None))
        axes[0].set_ylabel("seconds per pair")


def main() -> int:
    """Measure, write, print; return the exit code."""
    parser = result_parser("curves", __doc__)
    parser.add_argument("--bundles", type=Path, nargs="+", required=True)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--thread-counts", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    curves = measure(options)
    manifest = Generator.open(options.bundles[0], options.backend, options.threads).manifest
    base = manifest.provenance["base"]["name"]
    result = {
        "benchmark": "curves",
        "base": base,
        "image": manifest.image.width,
        "steps": manifest.sampler.steps,
        "precision": manifest.precision,
        "backend": options.backend,
        "threads": options.threads,
        "rounds": options.rounds,
        "curves": curves,
    }
    write_result(options.out, result)
    for name, entries in curves.items():
        print(
            name,
            *(f"{next(iter(entry.values()))}: {entry['seconds_per_pair']:.3f} s" for entry in entries),
            sep="\n  ",
        )
    if options.plot is not None:
        plot(curves, f"{base}, {options.backend}, {options.threads} threads", options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
