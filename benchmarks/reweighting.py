"""What re-weighted attention costs: a step of an AnomalyDiffusion bundle without it, and in both forms.

    python benchmarks/reweighting.py out/anomalydiffusion/bundle --name micro

Two figures a form, as shares of the plain step without guidance: operations, counted as `operations.py`
does, and seconds, the median of whole pairs' steps taken in turn. The paper's form decodes in every step.
Entries of other bundles stay in the file. Exits with 1 where the authors' form adds more than 3 % operations.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
from machine import result_parser, write_entry
from operations import count_graph

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


def main() -> int:
    """Count, measure, print and write."""
    parser = result_parser("reweighting", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--name", required=True, help="of the base, under which the figures are kept")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of each form; 0 counts alone")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--backend", default=AUTO)
    arguments = parser.parse_args()
    generator = Generator.open(arguments.bundle, arguments.backend, threads=arguments.threads)
    graphs = generator.manifest.graphs
    if not set(GRAPHS.values()) <= set(graphs):
        raise UserError(f"{arguments.bundle}: expected a bundle of anomalydiffusion")
    counted = {form: count_graph(arguments.bundle / graphs[name].file).total for form, name in GRAPHS.items()}
    times: dict[str, list[float]] = {form: [] for form in GRAPHS}
    for index in range(arguments.rounds + 1):
        for form, found in times.items():
            took = seconds_a_step(generator, form, index) if arguments.rounds else 0.0
            if index:  # the first of each warms up
                found.append(took)
    figures = {}
    for form in GRAPHS:
        more = {"operations_more": round(counted[form] / counted[OFF] - 1, 4)}
        row = {"gflop": round(counted[form] / 1e9, 3), **more}
        if arguments.rounds:
            median, plain = statistics.median(times[form]), statistics.median(times[OFF])
            row.update(seconds=round(median, 5), seconds_more=round(median / plain - 1, 4))
        figures[form] = row
        print(f"{form:8} {row}")
    met = figures[AUTHORS]["operations_more"] <= BAR
    setting = {"rounds": arguments.rounds, "backend": generator.backend.name, "threads": arguments.threads}
    write_entry(arguments.out, arguments.name, {**setting, "forms": figures, "bar": BAR, "met": met})
    print(f"authors' form at most {BAR:.0%} operations more: {met}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
