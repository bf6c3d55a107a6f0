"""Takes a few real fine-tuning steps and compares the host's peak memory with `train --dry-run`'s estimate.

    python benchmarks/training_memory.py --base /models/stable-diffusion-v1-4 --memory low --steps 10

Each level runs in a process of its own, whose peak resident memory the kernel keeps (Linux). The photographs
are the rendered sample product at the base's size: five normals and a pair of each defect, not augmented, as
every augmentation is encoded before the first step and memory does not depend on how many there are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from machine import result_parser, write_result

BAR = 0.15
"""How far the estimate may be from the peak."""


def peak() -> int:
    """The process's largest resident memory since the last `forget_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def forget_peak() -> None:
    """Begin a new peak at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train for a few steps in this process; return estimate and measurement as JSON values."""
    import diffusers  # noqa: F401 - what every training has loaded before its base
    import torch
    import transformers  # noqa: F401

    from seas_train.bases.base import load_base
    from seas_train.data import load_product
    from seas_train.methods.seas.config import TrainConfig
    from seas_train.methods.seas.finetune.memory_estimate import estimate_memory
    from seas_train.methods.seas.finetune.memory_levels import MemoryLevel, memory_values
    from seas_train.methods.seas.finetune.stage import FinetuneStage
    from seas_train.sample import write_sample
    from seas_train.settings import overlay
    from seas_train.training.loop import run_training
    from seas_train.training.stage import LoopConfig

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    process = psutil.Process().memory_info().rss
    base = load_base(arguments.base)
    size = arguments.size or base.geometry.image_size
    photographs = write_sample(folder, 0, size, train_good=5, test_good=1, defective=3)
    product = load_product(photographs, size=size)
    config = TrainConfig.for_base(base, len(product.defects))
    config = overlay(config, memory_values(MemoryLevel(arguments.level)), "--memory")
    values = {"steps": arguments.steps, "rotate": False, "flip": False}
    config = overlay(config, {"finetune": values}, "the benchmark")
    estimate = estimate_memory(base, config.finetune, config.precision, size)

    class Probed(FinetuneStage):
        """Notes the peak and the time when each batch is drawn, which is once all before it is done."""

        def draw(self, random: Any) -> Any:
            marks.append((time.perf_counter(), peak()))
            if len(marks) == 1:
                forget_peak()
            return super().draw(random)

    marks: list[tuple[float, int]] = []
    stage = Probed(product, base, config.finetune)
    run_training(stage, folder / "run", LoopConfig(0, 10**6, 0, config.precision), progress=False)
    ended, after = time.perf_counter(), peak()
    prepared, steps = marks[0][1], marks[-1][1]
    highest = max(prepared, after)
    return {
        "level": arguments.level,
        "base": {
            "unet_parameters": sum(p.numel() for p in base.unet.parameters()),
            "image_size": size,
        },
        "steps": arguments.steps,
        "batches_per_step": config.finetune.optimizer.gradient_accumulation,
        "images_per_batch": config.finetune.defect_images + config.finetune.normal_images,
        "precision": config.precision.value,
        "trained_parameters": estimate.trained,
        "estimate": {**estimate.parts, **estimate.host},
        "estimate_bytes": estimate.total,
        "process_bytes": process,
        "peak_before_training_bytes": prepared,
        "peak_training_bytes": steps,
        "peak_bytes": highest,
        "estimate_over_peak": estimate.total / highest,
        "within_bar": abs(estimate.total / highest - 1) <= BAR,
        "seconds_per_step": (ended - marks[0][0]) / arguments.steps,
        "flops_per_step": estimate.flops,
        "threads": torch.get_num_threads(),
    }


def main() -> int:
    """Measure every level that was asked for, and write the result."""
    parser = result_parser("training_memory", __doc__)
    parser.add_argument("--base", required=True, help="micro, or a folder in diffusers' format")
    parser.add_argument("--memory", default="low", help="levels, with commas between")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--size", type=int, help="image size; the base's own by default")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--level", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.level is not None:
            print(json.dumps(measure(arguments, Path(folder))))
            return 0
    found = []
    for level in arguments.memory.split(","):
        words = [sys.executable, __file__, *sys.argv[1:], "--level", level]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            found.append({"level": level, "failed": done.returncode})
            continue
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            f"{level}: estimate {found[-1]['estimate_bytes'] / 2**30:.2f} GiB, "
            f"peak {found[-1]['peak_bytes'] / 2**30:.2f} GiB, "
            f"{found[-1]['seconds_per_step']:.1f} s a step"
        )
    write_result(arguments.out, {"bar": BAR, "levels": found})
    return 0 if all(entry.get("within_bar") for entry in found) else 1


if __name__ == "__main__":
    sys.exit(main())
