"""The runtime against what else a user would pick: one task, one machine, one contestant a process.

    seas-export base random sd14 sd14/base
    seas-export base untrained sd14/base sd14/checkpoint
    seas-export export sd14/checkpoint --out sd14/bundle
    seas-export export sd14/checkpoint --out sd14/plain --layout optimum
    python benchmarks/peers/make.py
    python benchmarks/compare.py --checkpoint sd14/checkpoint --bundle sd14/bundle --plain sd14/plain

Contestants: `pytorch-fp32`, `-bf16`, `-fp16`, each also with `-compiled`: what the authors' code does, with
diffusers. `optimum-onnxruntime`, `optimum-openvino-f32`, `-bf16`: images without masks, in an environment of
their own. `seas-BACKEND`: the runtime, on any backend that it has. All start from the same latents and
prompts.

Outcomes stay in --work: run some contestants now and others later, and the result holds all of the same task.
A contestant that cannot run here is named with its reason. Operations are counted from the bundle's graphs;
the limit is the rate of a large matrix product, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from comparison import report
from comparison.limit import matrix_rates
from comparison.run import CANNOT_RUN, PEERS
from comparison.task import TASK, Task
from machine import result_parser, write_result
from operations import HALVES, UNET, VAE_DECODER, count_pair

from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.resolve import resolve
from seas_runtime.manifest.types import UNCONDITIONAL
from seas_runtime.methods.request import PairRequest, Request, Sampling
from seas_runtime.methods.table import find_method

HERE = Path(__file__).parent
PEERS_PYTHON = HERE / "peers" / ".venv" / "bin" / "python"
DEFAULT = (
    *("pytorch-fp32", "pytorch-bf16", "pytorch-fp32-compiled", "pytorch-bf16-compiled"),
    *PEERS,
    *("seas-cpu", "seas-openvino"),
)


def make_task(options: argparse.Namespace) -> Task:
    """Return the task: every pair's start and both contexts, from the bundle."""
    bundle = Bundle.read(options.bundle, verify=False)
    manifest = bundle.manifest
    sampler, steps = options.sampler or manifest.sampler.name, options.steps or manifest.sampler.steps
    defect = options.defect or manifest.defects[0]
    request = resolve(Request(defect, options.seed, Sampling(sampler, steps)), bundle)
    asked = [PairRequest(request, index) for index in range(options.pairs + options.warm_up)]
    scheduler = {}
    if options.plain is not None:
        file = options.plain / "scheduler" / "scheduler_config.json"
        scheduler = json.loads(file.read_text(encoding="utf-8"))
    return Task(
        checkpoint=str(options.checkpoint.absolute()),
        bundle=str(options.bundle.absolute()),
        plain=None if options.plain is None else str(options.plain.absolute()),
        defect=defect,
        seed=options.seed,
        batch=options.batch,
        pairs=options.pairs,
        warm_up=options.warm_up,
        sampler=sampler,
        steps=steps,
        guidance=manifest.sampler.guidance if options.guidance is None else options.guidance,
        mask_steps=options.mask_steps or manifest.generation["mask_steps"],
        threads=options.threads,
        device=options.device,
        scheduler=scheduler,
        starts=find_method(manifest.method).inputs(bundle, asked, 0).values["latents"],
        context=bundle.tables["embeddings"][defect].astype(np.float32),
        negative=bundle.tables["embeddings"][UNCONDITIONAL].astype(np.float32),
    )


def place(task: Task, work: Path) -> None:
    """Put the task into the work folder; outcomes of another task are cleared away."""
    if (work / f"{TASK}.json").is_file():
        with tempfile.TemporaryDirectory() as scratch:
            task.write(Path(scratch))
            same = all(
                (work / name).read_bytes() == (Path(scratch) / name).read_bytes()
                for name in (f"{TASK}.json", f"{TASK}.npz")
            )
        if same:
            return
        shutil.rmtree(work)
    task.write(work)


def run_contestant(name: str, work: Path, python: Path) -> str | None:
    """Run one in a process of its own and note its peak memory; return why it could not, or None."""
    if name in PEERS and not python.is_file():
        return f"no peers' environment at {python}: make it with benchmarks/peers/make.py"
    task = Task.read(work)
    if name in PEERS and task.plain is None:
        return "no --plain folder was given"
    interpreter = str(python) if name in PEERS else sys.executable
    environment = {**os.environ, "OMP_NUM_THREADS": str(task.threads), "PYTHONPATH": _paths(name)}
    process = subprocess.Popen(
        [interpreter, "-m", "comparison.run", name, str(work)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        file = work / f"{name}.json"
        outcome = json.loads(file.read_text(encoding="utf-8"))
        outcome["peak_gib"] = round(usage.ru_maxrss / 2**20, 2)
        file.write_text(json.dumps(outcome, indent=2), encoding="utf-8")
        return None
    last = said.strip().splitlines()[-1] if said.strip() else f"ended with {code}"
    return last if code == CANNOT_RUN else f"failed: {last}"


def _paths(name: str) -> str:
    """What a contestant may import: peers see the benchmarks' own modules alone."""
    own = [str(HERE)] if name in PEERS else [str(HERE), *(path for path in sys.path if path)]
    return os.pathsep.join(own)


def operations_of(bundle: Path, steps: int) -> dict[str, Any]:
    """Return the counted operations, with those of an image by the plain parts, as peers make it."""
    counted = count_pair(bundle, Bundle.read(bundle, verify=False).manifest, steps)
    image = steps * HALVES * counted.graphs[UNET] + counted.graphs[VAE_DECODER]
    return {**counted.to_dict(), "tflop_per_image": round(image / 1e12, 6)}


def main() -> int:
    """Run the contestants, merge, write, print; return the exit code."""
    options = parse()
    task = make_task(options)
    place(task, options.work)
    reasons: dict[str, str] = {}
    for name in options.contestants:
        if options.keep and (options.work / f"{name}.json").is_file():
            continue
        print(f"{name} ...", flush=True)
        if reason := run_contestant(name, options.work, options.peers):
            reasons[name] = reason
            print(f"  not run: {reason}", flush=True)
    precisions = ("fp32", "bf16", "fp16") if options.device != "cpu" else ("fp32", "bf16")
    rates = matrix_rates(options.device, options.threads, precisions)
    operations = operations_of(options.bundle, task.steps)
    order = list(dict.fromkeys([*DEFAULT, *options.contestants]))
    rows = report.summarise(options.work, order, operations, rates)
    manifest = Bundle.read(options.bundle, verify=False).manifest
    result = {
        "benchmark": "compare",
        "base": manifest.provenance["base"]["name"],
        "image": manifest.image.width,
        "steps": task.steps,
        "guidance": task.guidance,
        "mask_steps": task.mask_steps,
        "batch": task.batch,
        "pairs": task.pairs,
        "warm_up": task.warm_up,
        "threads": task.threads,
        "device": task.device,
        "operations": operations,
        "matrix_tflops": rates,
        "contestants": rows,
        "not_run": reasons,
    }
    write_result(options.out, result)
    print(report.to_text(rows))
    if options.plot is not None and rows:
        title = f"{result['base']}, {result['image']} px, {task.steps} steps, {task.threads} threads"
        report.plot(rows, title, options.plot)
    return 1 if any(reason.startswith("failed") for reason in reasons.values()) else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = result_parser("compare", __doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--plain", type=Path, help="the same checkpoint in optimum's layout, for the peers")
    parser.add_argument("--work", type=Path, default=Path("out/compare"), help="outcomes are kept here")
    parser.add_argument("--contestants", nargs="*", default=list(DEFAULT))
    parser.add_argument("--keep", action="store_true", help="do not run again what has an outcome")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--warm-up", type=int, default=0, help="pairs before the clock runs")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--sampler", help="of ours; by default the bundle's")
    parser.add_argument("--steps", type=int, help="by default the bundle's")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--mask-steps", type=int, help="final steps that give a mask; the bundle's")
    parser.add_argument("--defect")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu", help="of PyTorch: cpu or cuda")
    parser.add_argument("--peers", type=Path, default=PEERS_PYTHON, help="their environment's interpreter")
    parser.add_argument("--plot", type=Path, help="PNG to draw")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
