"""Seconds from the start of a process to its first pair, on every backend that is installed.

    python benchmarks/startup.py --bundle out/bottle/bundle

Each run is a fresh process, measured from outside until it has made one pair (batch 1, the bundle's steps and
guidance); a second pair in the same process says what of that is the pair itself. The first process of each
backend warms the file cache, leaves compiled modules as an installation does, and does not count. Writes
benchmarks/results/startup.json. Exits with 1 where the default backend's median exceeds 1.5 s.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

BAR = 1.5
CHILD = """
import json, sys, time
begun = time.perf_counter()
marks = {}

def mark(name):
    global begun
    now = time.perf_counter()
    marks[name] = now - begun
    begun = now

import numpy
mark("import numpy")
from pathlib import Path
from seas_runtime.generation.generator import Generator
mark("import seas_runtime")
bundle, backend, threads = sys.argv[1:]
generator = Generator.open(Path(bundle), backend, int(threads) or None)
mark("import backend, hash bundle, load graphs")
defect = generator.manifest.defects[0]
next(generator.generate(defect, 1, 0, batch=1, gate=False))
mark("first pair")
print("first", flush=True)
next(generator.generate(defect, 1, 1, batch=1, gate=False))
mark("second pair")
print(json.dumps(marks), flush=True)
"""


def start(bundle: Path, backend: str, threads: int) -> tuple[float, dict[str, float]]:
    """Return the seconds from starting a process to its first pair, and where it says they went."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(bundle), backend, str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    seconds = time.perf_counter() - begun
    rest = child.stdout.read()
    if child.wait() or line != "first\n":
        raise SystemExit(f"{backend}: the process failed")
    return seconds, json.loads(rest)


def measure(bundle: Path, backend: str, threads: int, runs: int) -> dict[str, Any]:
    """Return medians over `runs` processes after a first one that does not count."""
    start(bundle, backend, threads)
    taken = [start(bundle, backend, threads) for _ in range(runs)]
    seconds = [one for one, _ in taken]
    parts = {name: statistics.median(marks[name] for _, marks in taken) for name in taken[0][1]}
    parts["process start and end of imports"] = statistics.median(
        whole - sum(value for name, value in marks.items() if name != "second pair") for whole, marks in taken
    )
    return {
        "seconds": round(statistics.median(seconds), 3),
        "runs": [round(value, 3) for value in seconds],
        "without_the_pair": round(statistics.median(seconds) - parts["second pair"], 3),
        "parts": {name: round(value, 3) for name, value in parts.items()},
    }


def main() -> int:
    """Measure, write, print; return the exit code."""
    from seas_runtime.backends.auto import candidates

    parser = result_parser("startup", __doc__)
    parser.add_argument("--bundle", type=Path, default=Path("out/bottle/bundle"))
    parser.add_argument("--backends", nargs="+", help="by default those that are usable here")
    parser.add_argument("--threads", type=int, default=0, help="0: the backend's own choice")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()

    usable = [item.backend for item in candidates(options.bundle) if item.usable]
    names = options.backends or [
        name for item in usable for name in ([item, "openvino:fp32"] if item == "openvino" else [item])
    ]
    figures = {name: measure(options.bundle, name, options.threads, options.runs) for name in names}
    default = figures.get("cpu")
    passed = default is not None and default["seconds"] <= BAR
    write_result(
        options.out,
        {
            "benchmark": "startup",
            "bar_seconds": BAR,
            "passed": passed,
            "backends": figures,
            "not_measured": [name for name in ("cuda", "tensorrt", "rtx") if name not in usable],
        },
    )
    for name, figure in figures.items():
        print(f"{name:>14}: {figure['seconds']:.2f} s to the first pair, {figure['parts']}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
