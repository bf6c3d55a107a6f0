"""From nothing to a bundle at Stable Diffusion 1.4's size: seconds and peak memory of every command.

    python benchmarks/full_size.py --work sd14
    python benchmarks/full_size.py --work sd14 --methods anogen anomalyxfusion --product photos/bottle

Makes sd14/base, sd14/checkpoint, sd14/bundle (fp32), sd14/bundle-fp16 and sd14/plain, each by its own command
in its own process; `--only bundle plain` makes some of them again. Writes benchmarks/results/full_size.json.
Exits with 1 where the way from base to bundle takes more than 15 minutes or any process more than 14 GiB.

With `--methods`, sd14/base is trained by each for one step on a pair of each of the product's defects,
exported without parity, and draws a pair of each in ten steps into the bundle's own photographs. Those
processes may take 20 GiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

MAX_SECONDS, MAX_GIB, METHOD_GIB = 15 * 60, 14.0, 20.0
WAY = ("base", "checkpoint", "bundle")


def commands(work: Path, geometry: str) -> dict[str, list[str]]:
    """Return the words of each command, by the folder that it makes."""
    base, checkpoint = str(work / "base"), str(work / "checkpoint")
    export = ["export", checkpoint, "--force", "--out"]
    return {
        "base": ["base", "random", geometry, base, "--force"],
        "checkpoint": ["base", "untrained", base, checkpoint, "--force"],
        "bundle": [*export, str(work / "bundle")],
        "bundle-fp16": [*export, str(work / "bundle-fp16"), "--precision", "fp16"],
        "plain": [*export, str(work / "plain"), "--layout", "optimum"],
    }


SHORT = {
    "anogen": (),
    "anomalydiffusion": ("anomalydiffusion.variants=1", "masks.steps=1"),
    "anomalyxfusion": (),
}
"""What else makes a training of a method short."""


def method_commands(work: Path, method: str, product: Path) -> dict[str, list[str]]:
    """Return the words of each command from base to pair."""
    checkpoint, bundle, pair = (f"{method}{end}" for end in ("-checkpoint", "-bundle", "-pair"))
    settings = [word for setting in (f"{method}.steps=1", *SHORT[method]) for word in ("--set", setting)]
    train = ["train", str(product), "--method", method, "--base", str(work / "base"), "--force", *settings]
    few = ["--shots", "1", "--out", str(work / checkpoint)]
    generate = [
        "generate",
        str(work / bundle),
        "--defect",
        "all",
        "--count",
        "1",
        "--steps",
        "10",
        "--no-gate",
    ]
    return {
        checkpoint: [*train, *few],
        bundle: ["export", str(work / checkpoint), "--force", "--no-parity", "--out", str(work / bundle)],
        pair: [*generate, "--force", "--out", str(work / pair)],
    }


def run(words: list[str], folder: Path, threads: int) -> dict[str, Any]:
    """Run one command; return seconds, peak memory and the size of what it made."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "seas_export", *words], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "command": " ".join(["seas-export", *(Path(word).name if "/" in word else word for word in words)]),
        "exit_code": code,
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
        "disk_gib": round(size / 2**30, 3),
    }


def _largest(figures: dict[str, Any], *, methods: bool) -> float:
    """Return the peak of the largest process, of those of methods or of the others; 0 where there is none."""
    chosen = [entry for name, entry in figures.items() if name.startswith(tuple(SHORT)) == methods]
    return max((float(entry["peak_gib"]) for entry in chosen), default=0.0)


def main() -> int:
    """Run the commands, write, print; return the exit code."""
    parser = result_parser("full_size", __doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--geometry", default="sd14")
    parser.add_argument(
        "--methods", nargs="+", choices=SHORT, help="take these from sd14/base to a pair instead"
    )
    parser.add_argument("--product", type=Path, help="of --methods: a product's folder")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", help="folders to make; the others' figures are kept")
    options = parser.parse_args()
    made = commands(options.work, options.geometry)
    if options.methods and options.product is None:
        parser.error("--methods: expected --product, the folder that they are trained on")
    of_methods: dict[str, list[str]] = {}
    for method in options.methods or ():
        of_methods.update(method_commands(options.work, method, options.product))
    made.update(of_methods)
    figures: dict[str, Any] = {}
    if (options.only or options.methods) and options.out.is_file():
        figures = json.loads(options.out.read_text(encoding="utf-8"))["folders"]
    for name in options.only or of_methods or made:
        print(f"{name} ...", flush=True)
        figures[name] = run(made[name], options.work / name, options.threads)
        print(f"  {figures[name]}", flush=True)
        if figures[name]["exit_code"]:
            break
    way = [figures[name]["seconds"] for name in WAY if name in figures]
    result = {
        "benchmark": "full_size",
        "geometry": options.geometry,
        "threads": options.threads,
        "folders": figures,
        "seconds_base_to_bundle": round(sum(way), 1) if len(way) == len(WAY) else None,
        "largest_process_gib": _largest(figures, methods=False),
        "largest_process_gib_of_methods": _largest(figures, methods=True),
        "bars": {
            "seconds_base_to_bundle": MAX_SECONDS,
            "largest_process_gib": MAX_GIB,
            "largest_process_gib_of_methods": METHOD_GIB,
        },
    }
    passed = (
        all(entry["exit_code"] == 0 for entry in figures.values())
        and sum(way) <= MAX_SECONDS
        and result["largest_process_gib"] <= MAX_GIB
        and result["largest_process_gib_of_methods"] <= METHOD_GIB
    )
    write_result(options.out, {**result, "passed": passed})
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
