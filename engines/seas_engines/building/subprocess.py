"""Runs the worker that builds one engine, passes its progress on, and says how it failed if it did."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_engines.building.worker import WorkerSpec
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.types import TensorSpec
from seas_runtime.packages import child_environment

Progress = Callable[[str, int, int], None]
"""Is told a phase of the build, how many of its steps are done, and of how many."""
_LOG_LINES = 12


@dataclass(frozen=True)
class Built:
    """What a worker made: the engine is in the file that its specification names.

    `seconds` and `peak` (bytes) are of the worker's process; tensors are as the engine has them.
    """

    seconds: float
    peak: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def run_worker(spec: WorkerSpec, folder: Path, progress: Progress | None = None) -> Built:
    """Build an engine in a process of its own, in `folder`.

    Raises CheckFailed saying why no engine came of it: refused, out of memory, killed, crashed.
    """
    file, log = folder / "spec.json", folder / "log.txt"
    spec.write(file)
    last: dict[str, Any] = {}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "seas_engines.building.worker", str(file)],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                last = _message(line) or last
                if progress is not None and last.get("phase") and not last.get("finished"):
                    progress(str(last["phase"]), int(last["done"]), int(last["total"]))
            code = process.wait()
        except BaseException:  # Ctrl-C too: a builder does not outlive the command
            process.kill()
            process.wait()
            raise
    if code != 0 or not last.get("done"):
        raise CheckFailed(_reason(spec, code, last, log))
    tensors = last["tensors"]
    return Built(
        seconds=float(last["seconds"]),
        peak=last["peak"],
        inputs=tuple(_tensor(value, spec) for value in tensors["inputs"]),
        outputs=tuple(_tensor(value, spec) for value in tensors["outputs"]),
    )


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _tensor(value: dict[str, Any], spec: WorkerSpec) -> TensorSpec:
    """Return a tensor of the network; where that has -1, what the manifest calls the size."""
    sizes = zip(value["shape"], spec.shapes[value["name"]], strict=True)
    return TensorSpec(
        value["name"], value["dtype"], tuple(name if size == -1 else size for size, name in sizes)
    )


def _reason(spec: WorkerSpec, code: int, last: dict[str, Any], log: Path) -> str:
    """Say in words why there is no engine."""
    name = Path(spec.graph).parent.name
    head = f"{name}: no engine for {spec.target} was built: "
    lines = _errors(log)
    if last.get("memory") or any("memory" in line.lower() and "alloc" in line.lower() for line in lines):
        return head + _out_of_memory(spec)
    if code == -signal.SIGKILL:
        return head + "its builder was killed, most likely for want of memory. " + _out_of_memory(spec)
    if code < 0:
        return head + f"its builder crashed ({signal.Signals(-code).name})" + _tail(lines)
    return head + str(last.get("error", f"its builder ended with code {code}")) + _tail(lines)


def _out_of_memory(spec: WorkerSpec) -> str:
    smaller = "a smaller --batch, " if spec.batch[2] > 1 else ""
    elsewhere = (
        " or build it on a larger machine and carry it here with --ship-engines"
        if spec.target == "rtx"
        else ""
    )
    return f"out of memory; close other programs, give {smaller}or --workspace with less{elsewhere}"


def _errors(log: Path) -> list[str]:
    """Return the library's own words on what went wrong, from the end of its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    marked = [line for line in lines if line.startswith(("[E]", "[!]", "Error", "MemoryError"))]
    return [line[:300] for line in (marked or lines)[-_LOG_LINES:] if line.strip()]


def _tail(lines: list[str]) -> str:
    return "".join(f"\n  {line}" for line in lines)
