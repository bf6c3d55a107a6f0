"""What re-weighted attention costs: a step of AnomalyDiffusion without it, and in both forms.

    python benchmarks/reweighting.py                                  # Stable Diffusion 1.4's size, counted
    python benchmarks/reweighting.py out/bottle/bundle --name micro   # a bundle, counted and timed

Two figures a form, as shares of the plain step without guidance: operations (two for a multiplication and an
addition, of convolutions and matrix products), and seconds, the mean of whole pairs' steps, their median over
rounds in turn. Without a bundle the PyTorch models are counted by their shapes alone, which runs nothing. The
paper's form decodes in every step. Entries of other names stay in the file. Exits with 1 where the authors'
form adds more than 3 % operations.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from machine import result_parser, write_entry
from operations import count_graph

from seas_export.methods.anomalydiffusion.reweighting import ReweightedUNet
from seas_runtime import Generator, Placing
from seas_runtime.backends.contract import AUTO
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import STEP, STEP_UNGUIDED
from seas_runtime.methods.anomalydiffusion.options import (
    AUTHORS,
    OFF,
    PAPER,
    STEP_AUTHORS,
    STEP_PAPER,
    AnomalyDiffusionOptions,
)
from seas_train.bases.single_file.load import CONFIGS
from seas_train.methods.anomalydiffusion.config import AnomalyDiffusionConfig
from seas_train.methods.inpainting.words import PLACE

GRAPHS = {OFF: STEP_UNGUIDED, AUTHORS: STEP_AUTHORS, PAPER: STEP_PAPER}
BAR = 0.03


def seconds_a_step(generator: Generator, form: str, index: int) -> float:
    """Return the mean of a pair's steps."""
    defect = generator.manifest.defects[0]
    photograph = generator.backgrounds[0].pixels
    mask = np.zeros(photograph.shape[:2], np.bool_)
    height, width = mask.shape
    mask[2 * height // 5 : 3 * height // 5, 2 * width // 5 : 3 * width // 5] = True
    pair = generator.place(
        photograph,
        defect,
        mask,
        index=index,
        placing=Placing(),
        options=AnomalyDiffusionOptions(reweight=form),
        gate=False,
        guidance=1.0,
    )
    return pair.record.times.graphs[STEP] / generator.manifest.sampler.steps


def count_sd14() -> dict[str, int]:
    """Return the operations of a step of each form at Stable Diffusion 1.4's size, by shapes alone."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    def count(model: Any, *inputs: Any) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(*inputs)
        return counter.get_total_flops()

    config = AnomalyDiffusionConfig()
    columns = range(PLACE, PLACE + config.anomaly_tokens + config.spatial_tokens)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIGS / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIGS / "vae"))
        given = torch.empty(1, 4, 64, 64), torch.empty(1), torch.empty(1, 77, 768)
        weights = torch.empty(1, 1, 64, 64)
        plain = count(unet, *given)
        weighted = count(ReweightedUNet(unet, columns).eval(), *given, weights, weights)
        decoded = count(vae.decode, given[0])
    return {OFF: plain, AUTHORS: weighted, PAPER: weighted + decoded}


def count_bundle(generator: Generator) -> dict[str, int]:
    """Return the operations of each form's graph; UserError for a bundle of another method."""
    graphs, path = generator.manifest.graphs, generator.bundle.path
    if not set(GRAPHS.values()) <= set(graphs):
        raise UserError(f"{path}: expected a bundle of anomalydiffusion")
    return {form: count_graph(path / graphs[name].file).total for form, name in GRAPHS.items()}


def time_bundle(generator: Generator, rounds: int) -> dict[str, float]:
    """Return the median seconds of each form's step."""
    times: dict[str, list[float]] = {form: [] for form in GRAPHS}
    for index in range(rounds + 1):
        for form, found in times.items():
            took = seconds_a_step(generator, form, index)
            if index:  # the first of each warms up
                found.append(took)
    return {form: statistics.median(found) for form, found in times.items()}


def main() -> int:
    """Count, measure, print and write."""
    parser = result_parser("reweighting", __doc__)
    parser.add_argument("bundle", type=Path, nargs="?", help="none: Stable Diffusion 1.4's size is counted")
    parser.add_argument("--name", default="sd14", help="under which the figures are kept (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed pairs of each form")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--backend", default=AUTO)
    arguments = parser.parse_args()
    setting: dict[str, Any] = {}
    if arguments.bundle is None:
        counted, seconds = count_sd14(), None
    else:
        generator = Generator.open(arguments.bundle, arguments.backend, threads=arguments.threads)
        counted, seconds = count_bundle(generator), time_bundle(generator, arguments.rounds)
        setting = {
            "rounds": arguments.rounds,
            "backend": generator.backend.name,
            "threads": arguments.threads,
        }
    figures: dict[str, dict[str, float]] = {}
    for form in GRAPHS:
        row = {"gflop": round(counted[form] / 1e9, 3)}
        row["operations_more"] = round(counted[form] / counted[OFF] - 1, 4)
        if seconds is not None:
            row["seconds"] = round(seconds[form], 5)
            row["seconds_more"] = round(seconds[form] / seconds[OFF] - 1, 4)
        figures[form] = row
        print(f"{form:8} {row}")
    met = figures[AUTHORS]["operations_more"] <= BAR
    write_entry(arguments.out, arguments.name, {**setting, "forms": figures, "bar": BAR, "met": met})
    print(f"authors' form at most {BAR:.0%} operations more: {met}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
