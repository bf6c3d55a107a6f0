"""What a pair costs with the levers of a fast one: four unguided steps, one mask, a small decoder, int8.

    seas-export base random sd14 sd14/base
    seas-export base untrained sd14/base sd14/checkpoint
    seas-export base untrained sd14/base sd14/checkpoint-small --set mask_head.decoder=small ...
    seas-export export sd14/checkpoint --sampler lcm --out sd14/bundle
    seas-export export sd14/checkpoint-small --sampler lcm --out sd14/bundle-small
    python benchmarks/fast_pair.py --checkpoint sd14/checkpoint --bundle sd14/bundle --small sd14/bundle-small

Rows: PyTorch in float32 and the bundle's own steps, guidance and masks on a backend; then four steps of
`lcm` without guidance and one mask, of the same bundle and of those given by `--small` and `--int8`. Each
row is a process of its own; all are made after each other, `--rounds` times, and a row's time is the median.
Weights may be random: only times are told, not pictures. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import compare
from machine import result_parser, write_result

PYTORCH, TODAY, FOUR, SMALL, INT8 = "pytorch-fp32", "today", "four", "four small", "four small int8"
BARS = {FOUR: 6.0, SMALL: 6.0, INT8: 8.0}
"""Times faster than the bundle's own defaults."""


def row_options(options: argparse.Namespace) -> dict[str, argparse.Namespace]:
    """Return what `compare.make_task` takes for each row that can be made."""
    own = vars(options) | {"plain": None, "batch": 1, "defect": None, "seed": 0, "device": "cpu"}
    four = own | {"sampler": "lcm", "guidance": 1.0, "mask_steps": 1}
    today = own | {"sampler": None, "steps": None, "guidance": None, "mask_steps": None}
    made = {PYTORCH: today | {"warm_up": 0}, TODAY: today, FOUR: four}  # eager PyTorch has nothing to compile
    for name, bundle in ((SMALL, options.small), (INT8, options.int8)):
        if bundle is not None:
            made[name] = four | {"bundle": bundle}
    if options.no_pytorch:
        del made[PYTORCH]
    return {name: argparse.Namespace(**values) for name, values in made.items()}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run a row once in a process of its own."""
    contestant = PYTORCH if name == PYTORCH else f"seas-{options.backend}"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        compare.place(compare.make_task(options), work)
        if reason := compare.run_contestant(contestant, work, compare.PEERS_PYTHON):
            sys.exit(f"{name}: {reason}")
        found: dict[str, Any] = json.loads((work / f"{contestant}.json").read_text(encoding="utf-8"))
    return found


def main() -> int:
    """Measure all rows in turn, and say how many times faster each is."""
    parser = result_parser("fast_pair", __doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--small", type=Path, help="a bundle with a small decoder")
    parser.add_argument("--int8", type=Path, help="the same in int8")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=0, help="pairs before the clock runs, but of PyTorch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-pytorch", action="store_true", help="leave PyTorch out")
    options = parser.parse_args()
    rows = row_options(options)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, row in rows.items():
            found[name].append(measure(name, row))
            print(f"{name}: {found[name][-1]['seconds']}", flush=True)
    seconds = {
        name: statistics.median(second for outcome in outcomes for second in outcome["seconds"])
        for name, outcomes in found.items()
    }
    result = {
        name: {
            "seconds": round(seconds[name], 3),
            "times_today": round(seconds[TODAY] / seconds[name], 3),
            "parts": {key: round(value, 3) for key, value in found[name][-1]["parts"].items()},
            "precision": found[name][-1]["precision"],
            "peak_gib": max(outcome["peak_gib"] for outcome in found[name]),
        }
        for name in rows
    }
    write_result(
        options.out,
        {
            "benchmark": "fast_pair",
            "backend": options.backend,
            "steps": options.steps,
            "threads": options.threads,
            "rounds": options.rounds,
            "warm_up": options.warm_up,
            "rows": result,
        },
    )
    for name, row in result.items():
        bar = f", bar {BARS[name]}" if name in BARS else ""
        print(f"{name}: {row['seconds']} s, {row['times_today']} times as fast as today{bar}")
    return int(any(result[name]["times_today"] < bar for name, bar in BARS.items() if name in result))


if __name__ == "__main__":
    sys.exit(main())
