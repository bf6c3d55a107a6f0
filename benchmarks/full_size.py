"""From nothing to a bundle at Stable Diffusion 1.4's size: seconds and peak memory of every command.

    python benchmarks/full_size.py --work sd14

Makes sd14/base, sd14/checkpoint, sd14/bundle (fp32), sd14/bundle-fp16 and sd14/plain, each by its own command
in its own process; `--only bundle plain` makes some of them again. Writes benchmarks/results/full_size.json.
Exits with 1 where the way from base to bundle takes more than 15 minutes or any process more than 14 GiB.
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

MAX_SECONDS, MAX_GIB = 15 * 60, 14.0
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


def main() -> int:
    """Run the commands, write, print; return the exit code."""
    parser = result_parser("full_size", __doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--geometry", default="sd14")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", help="folders to make; the others' figures are kept")
    options = parser.parse_args()
    made = commands(options.work, options.geometry)
    figures: dict[str, Any] = {}
    if options.only and options.out.is_file():
        figures = json.loads(options.out.read_text(encoding="utf-8"))["folders"]
    for name in options.only or made:
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
        "largest_process_gib": max(entry["peak_gib"] for entry in figures.values()),
        "bars": {"seconds_base_to_bundle": MAX_SECONDS, "largest_process_gib": MAX_GIB},
    }
    passed = (
        all(entry["exit_code"] == 0 for entry in figures.values())
        and sum(way) <= MAX_SECONDS
        and result["largest_process_gib"] <= MAX_GIB
    )
    write_result(options.out, {**result, "passed": passed})
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
