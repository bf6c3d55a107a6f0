"""AnoGen, as export asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import Tensor

from seas_engines.targets.targets import TargetSpec
from seas_export.extras import Extras
from seas_export.graphs.finishing import finish
from seas_export.graphs.schedules import DDIM, adds_noise
from seas_export.graphs.weights import WeightStore
from seas_export.methods.contract import ExportMethod, Reference
from seas_export.methods.inpainting import reference
from seas_export.methods.inpainting.graphs import PARTS, base_parts, compose_base
from seas_export.methods.inpainting.tables import base_generation, base_tables
from seas_export.methods.seas.expected import make_placed, reference_module
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.anogen.method import EMBEDDING
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS
from seas_runtime.methods.contract import Content, Inputs
from seas_runtime.methods.request import PlacedInputs
from seas_train import Checkpoint
from seas_train.bases.base import Geometry
from seas_train.methods.anogen.model import contexts

STEPS = 50
"""The paper's, of DDIM with eta 0."""


def compose(
    parts: Mapping[str, ir.Model],
    geometry: Geometry,
    dtype: ir.DataType,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras,
) -> dict[str, ir.Model]:
    """Return the graphs that generation runs; see `ExportMethod.compose`."""
    return finish(
        compose_base(parts, geometry, dtype, spec.opset, noisy=adds_noise(extras.samplers)), spec, store
    )


def tables(checkpoint: Checkpoint, extras: Extras) -> dict[str, dict[str, Array]]:
    """Return the learned contexts, and what placed pairs need."""
    learned = contexts(checkpoint)
    return base_tables(checkpoint, learned, lambda defect: learned[defect][None])


def generation(checkpoint: Checkpoint, extras: Extras) -> dict[str, Any]:
    """Return what was learned, and how pairs are blended and judged."""
    return {EMBEDDING: checkpoint.meta["training"]["anogen"]["embedding"], **base_generation(checkpoint)}


def make_inputs(
    checkpoint: Checkpoint, schedule: Schedule, seed: int, batch: int
) -> dict[str, dict[str, Array]]:
    """Return inputs of each graph, with the learned contexts in turn."""
    return reference.make_inputs(checkpoint, schedule, seed, batch, list(contexts(checkpoint).values()))


def reference_loop(
    checkpoint: Checkpoint, schedule: Schedule, manifest: Manifest
) -> reference.InpaintingLoop:
    """Return the loop in PyTorch."""
    learned = contexts(checkpoint)

    def of(defect: str, count: int, placed: Sequence[PlacedInputs]) -> Tensor:
        return learned[defect][None].expand(count, -1, -1)

    return reference.InpaintingLoop(checkpoint, schedule, manifest, of)


def with_prompt(content: Content, inputs: Inputs, name: str) -> Inputs:
    """Return inputs with the context of another defect, or of `good`."""
    context = np.stack([content.tables[EMBEDDINGS][name]] * len(inputs.origins))
    return replace(inputs, values={**inputs.values, "context": context})


METHOD = ExportMethod(
    name="anogen",
    part_names=PARTS,
    parts=base_parts,
    compose=compose,
    tables=tables,
    generation=generation,
    fewest_steps=1,
    blend=True,
    half_tables=(EMBEDDINGS,),
    half_values=frozenset({"context", "negative_context", "tap_coarse", "tap_fine"}),
    inner_values=frozenset(),
    part_cases=lambda checkpoint: {},
    sampler=DDIM,
    steps=STEPS,
    reference=Reference(make_inputs, reference_module, reference_loop, make_placed),
    with_prompt=with_prompt,
)
