"""What the scripts share: their command line, and their results with the machine that they are of."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from seas_export.machine.machine import describe_machine as _describe
from seas_export.version import installed
from seas_runtime.errors import UserError
from seas_runtime.files import write_json

RESULTS = Path(__file__).parent / "results"

PACKAGES = (
    "accelerate",
    "diffusers",
    "numpy",
    "openvino",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "pillow",
    "safetensors",
    "torch",
    "transformers",
)


def result_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a script's parser, with `--out`: by default results/`name`.json."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out = RESULTS / f"{name}.json"
    parser.add_argument("--out", type=Path, default=out, help="JSON file to write (%(default)s)")
    return parser


def run(main: Callable[[], int]) -> NoReturn:
    """Exit with what a script's `main` returns; with 2 where it raises a UserError, which is printed."""
    try:
        sys.exit(main())
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def write_result(file: Path, values: Mapping[str, Any]) -> None:
    """Write figures, with the machine that they were measured on."""
    write_json(file, {**values, "machine": describe_machine()})


def write_entry(file: Path, name: str, values: Mapping[str, Any]) -> None:
    """Write figures as an entry of a file that keeps others, each with its machine."""
    older = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    write_json(file, {**older, name: {**values, "machine": describe_machine()}})


def describe_machine() -> dict[str, Any]:
    """Return JSON values without names or paths: system, processor, cores, memory (GiB), GPUs, versions."""
    machine = _describe()
    return {
        "system": machine.system,
        "processor": machine.processor,
        "cores": machine.cores,
        "usable_cores": machine.usable_cores,
        "memory_gib": None if machine.memory is None else round(machine.memory / 2**30, 1),
        "gpus": [gpu.name for gpu in machine.gpus],
        "python": machine.python,
        "packages": {name: found for name in PACKAGES if (found := installed(name)) is not None},
    }


@contextlib.contextmanager
def plot_axes(file: Path, width: float, height: float, columns: int = 1, title: str = "") -> Iterator[Any]:
    """Yield matplotlib's axes side by side, written as a PNG when the block ends; sizes in inches."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
    every = figure.subplots(1, columns, squeeze=False)[0]
    yield every
    for axes in every:
        axes.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
