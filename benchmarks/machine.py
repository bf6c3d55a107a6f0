"""What a measurement was made on: the machine and the versions of what ran, without names or paths."""

from __future__ import annotations

from typing import Any

from seas_export.machine.machine import describe_machine as _describe
from seas_export.version import installed

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


def describe_machine() -> dict[str, Any]:
    """Return JSON values: system, processor, cores, memory (GiB), GPUs, Python, package versions."""
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
