"""What distillation costs: processor seconds of a step of the student's training, and memory by estimate.

    python benchmarks/distillation.py out/bottle/checkpoint --product out/bottle/sample/bottle

Runs a few steps of `distill`'s first stage on one thread, with a checkpoint's own photographs, each encoded
when it is drawn. Processor seconds are this process's own, so that other work on the machine adds little; the
minutes of a whole stage are calculated from them, and say nothing of several threads. With `--whole` the
whole command is run too, both stages with all of the machine's threads: what it takes by the clock, with
loading. Exits with 1 where that is more than 8 minutes with the base `micro`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from full_size import run
from machine import result_parser, write_result

from seas_runtime.backends.cores import usable_cores
from seas_train import load_checkpoint
from seas_train.data import load_product
from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.distill.stage import DistillStage
from seas_train.methods.seas.distill.training import check_teacher, defaults, estimate, teacher_of
from seas_train.training.optimizer import make_optimizer
from seas_train.training.random import step_random
from seas_train.training.state import trained_tensors

_MINUTES = 8
"""The most that a student of `micro` may take on two cores."""
_WARM = 2
"""First steps that do not count: they encode most photographs, and fill caches."""


class _AsDrawn(Examples):
    """Encodes a photograph when it is drawn."""

    def encode_all(self, *, progress: bool) -> None:
        """Encode nothing ahead."""


def whole_seconds(teacher: Path, product: Path) -> float:
    """Return the wall-clock seconds of `distill` with its defaults, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        student = Path(folder) / "student"
        words = ["distill", str(teacher), str(product), "--out", str(student)]
        found = run(words, student, usable_cores())
    if found["exit_code"]:
        sys.exit(f"{found['command']}: failed, see above")
    return float(found["seconds"])


def main() -> int:
    """Measure, print, write the figures."""
    parser = result_parser("distillation", __doc__)
    parser.add_argument("checkpoint", type=Path, help="the teacher's folder")
    parser.add_argument("--product", type=Path, required=True, help="folder of its photographs")
    parser.add_argument("--steps", type=int, default=6, help="steps to run")
    parser.add_argument("--whole", action="store_true", help="run the whole command first")
    arguments = parser.parse_args()
    whole = whole_seconds(arguments.checkpoint, arguments.product) if arguments.whole else None

    torch.set_num_threads(1)
    teacher = load_checkpoint(arguments.checkpoint)
    geometry = teacher.geometry
    product = load_product(arguments.product, size=geometry.image_size, latent_factor=geometry.latent_factor)
    check_teacher(teacher, product)
    config = defaults(teacher, product)
    examples = _AsDrawn(product, geometry, rotate=True, flip=True)
    guidance = float(teacher.meta["generation"]["guidance"])
    stage = DistillStage(
        teacher_of(teacher), examples, config.distill, guidance=guidance, steps=config.student_steps
    )
    stage.prepare(torch.device("cpu"), progress=False)
    stage.follow({name: tensor.clone() for name, tensor in trained_tensors(stage.module).items()})
    optimizer = make_optimizer(config.distill.optimizer, stage.parameter_groups())
    stage.module.train()
    spent = []
    for step in range(_WARM + arguments.steps):
        batch = stage.draw(step_random(0, stage.name, step)).tensors
        begun = time.process_time()
        stage.losses(stage.module, batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        spent.append(time.process_time() - begun)
    seconds = statistics.median(spent[_WARM:])
    found = estimate(teacher, product, config)
    values = {
        "benchmark": "distillation",
        "base": teacher.meta["base"]["name"],
        "batch": config.distill.defect_images + config.distill.normal_images,
        "processor_seconds_per_step": round(seconds, 3),
        "steps": config.distill.steps,
        "processor_minutes_calculated": round(seconds * config.distill.steps / 60, 2),
        "tflop_per_step": round(found.flops / 1e12, 4),
        "estimated_bytes": sum(found.parts.values()) + sum(found.host.values()),
        **({} if whole is None else {"whole_command_minutes": round(whole / 60, 2)}),
    }
    print(values)
    write_result(arguments.out, values)
    return int(whole is not None and values["base"] == "micro" and whole > _MINUTES * 60)


if __name__ == "__main__":
    sys.exit(main())
