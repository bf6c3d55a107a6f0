"""Time and memory of `data inspect` on thousands of photographs.

    python benchmarks/inspect_time.py --count 5000 --format jpg

Writes a product of photographs of 2 megapixels (a few different ones, with other bytes at each one's end, so
that no two files are alike), and measures the command in a process of its own: wall time, processor time, and
the most memory that it and its children held at once. The load of the machine is noted with the figures; the
files are read once before, so that the disk is not measured.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from machine import result_parser, write_entry
from PIL import Image

SIZE = (1664, 1200)
PICTURES = 8
OPTIONS = {"jpg": ("JPEG", {"quality": 92}), "png": ("PNG", {}), "tif": ("TIFF", {})}


def write_product(folder: Path, count: int, form: str) -> int:
    """Write `count` photographs, a tenth of them in pairs with a mask; return their bytes."""
    total = 0
    for part in ("train/good", "test/dent", "ground_truth/dent"):
        (folder / part).mkdir(parents=True)
    pictures = [_photograph(seed, form) for seed in range(PICTURES)]
    mask = Image.new("L", SIZE)
    mask.paste(255, (700, 500, 900, 640))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    for index in range(count):
        part = "test/dent" if index % 10 == 0 else "train/good"
        data = pictures[index % PICTURES] + index.to_bytes(4, "big")
        (folder / part / f"{index:05}.{form}").write_bytes(data)
        total += len(data)
        if index % 10 == 0:
            (folder / "ground_truth/dent" / f"{index:05}.png").write_bytes(buffer.getvalue())
    return total


def _photograph(seed: int, form: str) -> bytes:
    """A picture of a part on a plate: shading, an edge, and a sensor's noise."""
    random = np.random.default_rng(seed)
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    values = 128 + 60 * np.sin(across / 90 + seed) + 40 * np.cos(down / 70)
    values = np.where((across - 830) ** 2 + (down - 600) ** 2 < 160_000, values + 40, values)[..., None]
    values = values + random.normal(0, 4, (*values.shape[:2], 3))
    kind, options = OPTIONS[form]
    buffer = io.BytesIO()
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def measure(folder: Path) -> dict[str, float]:
    """Run the command; return seconds and MB (10^6 bytes) of it and its children."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "seas_export", "data", "inspect", str(folder), "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    most = [0]
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), most))
    watcher.start()
    before = os.times()
    out, err = process.communicate()
    seconds, after = time.perf_counter() - started, os.times()
    watcher.join()
    if process.returncode != 0 or err:
        raise SystemExit(
            f"data inspect: exit code {process.returncode}: {err.decode()[-500:]}{out.decode()[-500:]}"
        )
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(used, 1),
        "peak_mb": round(most[0] / 1e6),
    }


def _watch(process: psutil.Process, most: list[int]) -> None:
    """Keep the most that a process and its children hold at once."""
    while True:
        try:
            family = [process, *process.children(recursive=True)]
            most[0] = max(most[0], sum(member.memory_info().rss for member in family))
        except psutil.Error:
            return
        time.sleep(0.05)


def main() -> int:
    """Write the photographs, measure, write the figures."""
    parser: argparse.ArgumentParser = result_parser("inspect_time", __doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--format", choices=sorted(OPTIONS), default="jpg")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        size = write_product(Path(scratch) / "part", arguments.count, arguments.format)
        load = os.getloadavg()[0]
        found = measure(Path(scratch) / "part")
    values = {
        "photographs": arguments.count,
        "pixels": list(SIZE),
        "megabytes": round(size / 1e6),
        **found,
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    print(values)
    write_entry(arguments.out, arguments.format, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
