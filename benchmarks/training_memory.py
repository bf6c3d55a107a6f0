"""Takes a few real training steps and compares the host's peak memory with `--dry-run`'s estimate.

    python benchmarks/training_memory.py --base /models/stable-diffusion-v1-4 --memory low --steps 10
    python benchmarks/training_memory.py --checkpoint sd14/checkpoint --memory high --lora 16 --checkpointing

With `--base` they are fine-tuning's, with `--checkpoint` those of the first stage of its distillation.

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

    from seas_train import load_checkpoint
    from seas_train.bases.base import load_base
    from seas_train.data import load_product
    from seas_train.methods.seas.finetune.memory_levels import MemoryLevel, memory_values
    from seas_train.sample import write_sample
    from seas_train.training.loop import run_training
    from seas_train.training.stage import LoopConfig

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    process = psutil.Process().memory_info().rss
    taught = load_checkpoint(arguments.checkpoint) if arguments.checkpoint else load_base(arguments.base)
    size = arguments.size or taught.geometry.image_size
    photographs = write_sample(folder, 0, size, train_good=5, test_good=1, defective=3)
    product = load_product(photographs, size=size)
    values = memory_values(MemoryLevel(arguments.level), arguments.lora)
    if arguments.checkpointing:
        values["finetune"] = {**values.get("finetune", {}), "gradient_checkpointing": True}
    prepare = distilling if arguments.checkpoint else fine_tuning
    stage, stage_config, precision, estimate = prepare(taught, product, values, arguments.steps, size)
    marks: list[tuple[float, int]] = []
    draw = stage.draw

    def probed(random: Any) -> Any:
        """Note the peak and the time when each batch is drawn, which is once all before it is done."""
        marks.append((time.perf_counter(), peak()))
        if len(marks) == 1:
            forget_peak()
        return draw(random)

    stage.draw = probed
    run_training(stage, folder / "run", LoopConfig(0, 10**6, 0, precision), progress=False)
    ended, after = time.perf_counter(), peak()
    prepared, steps = marks[0][1], marks[-1][1]
    highest = max(prepared, after)
    parts = {**estimate.parts, **estimate.host}
    estimated = sum(parts.values())
    return {
        "trained": "distillation" if arguments.checkpoint else "fine-tuning",
        "level": arguments.level,
        "lora_rank": stage_config.lora_rank,
        "gradient_checkpointing": stage_config.gradient_checkpointing,
        "base": {
            "unet_parameters": sum(p.numel() for p in taught.unet.parameters()),
            "image_size": size,
        },
        "steps": arguments.steps,
        "batches_per_step": stage_config.optimizer.gradient_accumulation,
        "images_per_batch": stage_config.defect_images + stage_config.normal_images,
        "precision": precision.value,
        "trained_parameters": estimate.trained,
        "estimate": parts,
        "estimate_bytes": estimated,
        "process_bytes": process,
        "peak_before_training_bytes": prepared,
        "peak_training_bytes": steps,
        "peak_bytes": highest,
        "estimate_over_peak": estimated / highest,
        "within_bar": abs(estimated / highest - 1) <= BAR,
        "seconds_per_step": (ended - marks[0][0]) / arguments.steps,
        "flops_per_step": estimate.flops,
        "threads": torch.get_num_threads(),
    }


def fine_tuning(base: Any, product: Any, values: dict[str, Any], steps: int, size: int) -> tuple[Any, ...]:
    """Return fine-tuning's stage, its configuration, precision and estimate."""
    from seas_train.methods.seas.config import TrainConfig
    from seas_train.methods.seas.finetune.memory_estimate import estimate_memory
    from seas_train.methods.seas.finetune.stage import FinetuneStage
    from seas_train.settings import overlay

    config = overlay(TrainConfig.for_base(base, len(product.defects)), values, "--memory")
    values = {"steps": steps, "rotate": False, "flip": False}
    config = overlay(config, {"finetune": values}, "the benchmark")
    estimate = estimate_memory(base, config.finetune, config.precision, size)
    return FinetuneStage(product, base, config.finetune), config.finetune, config.precision, estimate


def distilling(teacher: Any, product: Any, values: dict[str, Any], steps: int, size: int) -> tuple[Any, ...]:
    """Return the same of a checkpoint's distillation."""
    from seas_train.diffusion.examples import Examples
    from seas_train.methods.seas.distill.stage import DistillStage
    from seas_train.methods.seas.distill.training import defaults, memory, teacher_of
    from seas_train.methods.seas.distill.training import estimate as estimated
    from seas_train.settings import overlay

    config = overlay(defaults(teacher, product), memory(values), "--memory")
    config = overlay(config, {"distill": {"steps": steps}}, "the benchmark")
    stage = DistillStage(
        teacher_of(teacher),
        Examples(product, teacher.geometry, rotate=False, flip=False),
        config.distill,
        guidance=float(teacher.meta["generation"]["guidance"]),
        steps=config.student_steps,
    )
    return stage, config.distill, config.precision, estimated(teacher, product, config)


def main() -> int:
    """Measure every level that was asked for, and write the result."""
    parser = result_parser("training_memory", __doc__)
    trained = parser.add_mutually_exclusive_group(required=True)
    trained.add_argument("--base", help="micro, or a folder in diffusers' format")
    trained.add_argument("--checkpoint", type=Path, help="distill this one, of the sample product's defects")
    parser.add_argument("--memory", default="low", help="levels, with commas between")
    parser.add_argument("--lora", type=int, help="rank of adapters; the level's own by default")
    parser.add_argument("--checkpointing", action="store_true", help="also where the level has none")
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
