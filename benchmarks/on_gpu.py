"""Measures on a GPU what the documentation calls "not measured": see `benchmarks/on_gpu.sh`, which runs this.

Every measurement is a command in a process of its own, in the order of the table below, the most wanted
first; its JSON goes into KIT/on_gpu.json as it ends, so that a run that is cut short has what it had. A
measurement that cannot be done here is `skipped`, with why: no GPU, no bundle, no library, no time left.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from full_size import commands
from machine import write_result

from seas_runtime.backends.cuda.device import find_cuda_device
from seas_runtime.files import write_json

HERE = Path(__file__).parent
RESULT = "on_gpu.json"
CUDA, INT8, TYPED, BOTTLE = "sd14-cuda", "sd14-int8", "sd14-fp16", "bottle"
"""Bundles of a kit: fp16 for `cuda`, int8 and fp16 for the TensorRT pair, and the sample product's."""
PACKAGES = {"cuda": "onnxruntime-gpu", "tensorrt": "tensorrt", "rtx": "tensorrt-rtx-cu13-libs"}
OLD_TENSORRT = "8.5.3.1"
_LEAST = 10.0  # seconds below which nothing is begun


@dataclass(frozen=True)
class Measurement:
    """One command, and what it needs."""

    name: str
    words: Sequence[str]
    """Of the command, after the interpreter; `{kit}` is the kit, `{out}` a file for its JSON."""
    bundle: str | None = None
    package: str | None = None
    """Of `PACKAGES`."""
    before: Sequence[str] = ()
    """Words of a command that comes first: engines are built."""
    skip: Callable[[], str | None] = field(default=lambda: None)
    """Returns why it cannot be done at all."""


def _bench(bundle: str, backend: str, batch: int, pairs: int) -> list[str]:
    words = ["-m", "seas_export", "bench", f"{{kit}}/{bundle}", "--backend", backend, "--json"]
    return [*words, "--batches", str(batch), "--pairs", str(pairs)]


def _engine(bundle: str, target: str, batch: str) -> list[str]:
    return [
        "-m",
        "seas_export",
        "engine",
        f"{{kit}}/{bundle}",
        "--target",
        target,
        "--batch",
        batch,
        "--json",
    ]


def _old_tensorrt() -> str | None:
    found = _installed("tensorrt")
    if found != OLD_TENSORRT:
        return f"TensorRT {OLD_TENSORRT} is not installed here ({found or 'none is'})"
    return f"TensorRT {OLD_TENSORRT} takes no dtypes from a graph: `seas-export engine` needs 10.0"


def _fp8() -> str:
    return "this version exports no FP8 graphs"


MEASUREMENTS = (
    *(
        Measurement(
            f"{CUDA}, batch {batch}: seconds and memory, and placed pairs",
            _bench(CUDA, "cuda", batch, max(4, batch)),
            CUDA,
            "cuda",
            _engine(CUDA, "cuda", "1"),
        )
        for batch in (1, 8, 4, 16)
    ),
    *(
        Measurement(
            f"{bundle} on {target}: seconds and memory",
            _bench(bundle, target, 1, 4),
            bundle,
            target,
            _engine(bundle, target, "1"),
        )
        for target in ("tensorrt", "rtx")
        for bundle in (INT8, TYPED)
    ),
    Measurement(
        "micro: parity of every backend",
        [str(HERE / "backend_parity.py"), "--bundle", f"{{kit}}/{BOTTLE}", "--pairs", "2", "--out", "{out}"],
        BOTTLE,
        "cuda",
    ),
    Measurement(
        "micro: start-up",
        [str(HERE / "startup.py"), "--bundle", f"{{kit}}/{BOTTLE}", "--runs", "3", "--out", "{out}"],
        BOTTLE,
        "cuda",
    ),
    Measurement(f"TensorRT {OLD_TENSORRT}", (), skip=_old_tensorrt),
    Measurement("FP8 on 8.9 and newer", (), skip=_fp8),
)


def prepare(kit: Path, bottle: Path | None) -> None:
    """Make the bundles of a kit; those that are there are kept."""
    words = commands(kit / "sd14", "sd14")
    export = ["export", str(kit / "sd14" / "checkpoint"), "--no-parity", "--out"]
    made = {
        "sd14/base": words["base"],
        "sd14/checkpoint": words["checkpoint"],
        CUDA: [*export, str(kit / CUDA), "--precision", "fp16", "--target", "cuda"],
        INT8: [*export, str(kit / INT8), "--precision", "int8", "--target", "tensorrt"],
        TYPED: [*export, str(kit / TYPED), "--precision", "fp16", "--target", "tensorrt"],
    }
    for folder, command in made.items():
        if not (kit / folder).exists():
            print(f"{folder} ...", flush=True)
            (kit / folder).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "seas_export", *command], check=True)
    if bottle is not None and not (kit / BOTTLE).exists():
        shutil.copytree(bottle, kit / BOTTLE)


def measure(kit: Path, seconds: float, measurements: Sequence[Measurement] = MEASUREMENTS) -> dict[str, Any]:
    """Run what can be run in these seconds; return a result by name, or why there is none."""
    ends = time.monotonic() + seconds
    found: dict[str, Any] = {}
    for item in measurements:
        left = ends - time.monotonic()
        reason = _reason(item, kit, left)
        began = time.monotonic()
        found[item.name] = {"skipped": reason} if reason else _run(item, kit, left)
        if not reason:
            found[item.name]["took_seconds"] = round(time.monotonic() - began, 1)
        said = found[item.name].get("skipped") or found[item.name].get("failed") or "measured"
        print(f"{item.name}: {said}", flush=True)
        write_json(kit / RESULT, {"benchmark": "on_gpu", "measured": found})
    write_result(kit / RESULT, {"benchmark": "on_gpu", "measured": found})
    return found


def _reason(item: Measurement, kit: Path, left: float) -> str | None:
    """Return why a measurement cannot be done, in words."""
    reason = item.skip()
    if reason is not None:
        return reason
    if find_cuda_device() is None:
        return "no NVIDIA GPU here"
    if item.package is not None and _installed(PACKAGES[item.package]) is None:
        return f"{PACKAGES[item.package]} is not installed"
    if item.bundle is not None and not (kit / item.bundle / "manifest.json").is_file():
        return f"the kit has no bundle {item.bundle}; `on_gpu.sh prepare` makes it"
    if left < _LEAST:
        return "no time was left"
    return None


def _run(item: Measurement, kit: Path, seconds: float) -> dict[str, Any]:
    """Run a measurement's commands; return its JSON with the memory that the GPU had in use at most."""
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        for words in (item.before, item.words):
            if not words:
                continue
            command = [
                sys.executable,
                *(word.replace("{kit}", str(kit)).replace("{out}", str(out)) for word in words),
            ]
            ended = _watched(command, max(1.0, ends - time.monotonic()))
            if "failed" in ended:
                return ended
        text = out.read_text(encoding="utf-8") if out.is_file() else ended["text"]
    try:
        return {"result": json.loads(text), "gpu_memory_mib": ended["gpu_memory_mib"]}
    except ValueError:
        return {"failed": f"the command printed no JSON: {text[-300:]!r}"}


def _watched(command: Sequence[str], seconds: float) -> dict[str, Any]:
    """Run a command and look at the GPU's memory meanwhile; return what it printed, or how it failed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ends, most = time.monotonic() + seconds, 0
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors, env=environment)
        while process.poll() is None and time.monotonic() < ends:
            most = max(most, _memory_in_use())
            time.sleep(0.2)
        if process.poll() is None:
            process.kill()
            process.wait()
            return {"failed": f"stopped after {seconds:.0f} s, when the time was spent"}
        said.seek(0)
        errors.seek(0)
        text, complaint = said.read().decode(), errors.read().decode()[-600:]
    # A benchmark that missed its bar ends with 1 and has its figures.
    if process.returncode and not (process.returncode == 1 and "--out" in command):
        return {"failed": f"ended with {process.returncode}: {complaint.strip()}"}
    return {"text": text, "gpu_memory_mib": most}


def _memory_in_use() -> int:
    device = find_cuda_device(free=True)
    return 0 if device is None or device.free is None else (device.memory - device.free) >> 20


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare or measure; return the exit code: 1 where a command failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("prepare", "measure"))
    parser.add_argument("kit", type=Path)
    parser.add_argument("--bottle", type=Path, help="a bundle of the sample product, to be copied")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args(arguments)
    if options.what == "prepare":
        prepare(options.kit, options.bottle)
        return 0
    found: Mapping[str, Any] = measure(options.kit, options.seconds)
    return 1 if any("failed" in entry for entry in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
