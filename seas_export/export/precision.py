"""A bundle in half precision, out of one in float32: what stays in float32 is measured on that very model.

Measured are the graphs that generation runs, as they are composed: guidance magnifies what the U-Net alone
would still get right. A node of theirs is a node of a part, and it is the parts that become half, so that
every graph of the bundle reads the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from safetensors.numpy import load_file, save_file

from seas_engines.building.prepare import Preparer
from seas_engines.graphs.rewrite import Form
from seas_engines.precision.evaluator import Case, release_weights
from seas_engines.precision.half import infer_types, to_half
from seas_engines.targets.dialect import Dialect
from seas_engines.targets.targets import Precision, TargetSpec
from seas_export.export.parity.report import BOUNDS
from seas_export.extras import Extras
from seas_export.graphs.graph_builder import origin
from seas_export.graphs.weights import WeightStore
from seas_export.methods.contract import ExportMethod
from seas_runtime.bundle.reading import Bundle
from seas_runtime.methods.table import find_method
from seas_train.bases.base import Geometry


@dataclass(frozen=True)
class HalfChoice:
    """Which nodes stay in float32, and what that rests on."""

    float32: Mapping[str, tuple[str, ...]]
    """Part -> names of its nodes."""
    measured: Mapping[str, Mapping[str, Any]]
    """Graph -> figures of `seas_engines.precision.float32_nodes.Float32Nodes`, without names."""
    pairs: Mapping[str, Any] | None
    """How far whole pairs lie from float32 ones, or None where they would take too long here."""

    @property
    def count(self) -> int:
        """How many nodes stay in float32."""
        return sum(map(len, self.float32.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values, as the manifest holds it."""
        return {
            "float32": {part: list(names) for part, names in self.float32.items()},
            "measured": {graph: dict(figures) for graph, figures in self.measured.items()},
            "pairs": dict(self.pairs) if self.pairs is not None else None,
        }


def choose_half(
    bundle: Bundle,
    method: ExportMethod,
    cases: Mapping[str, Sequence[Case]],
    folder: Path,
    say: Callable[[str], None],
) -> HalfChoice:
    """Measure which nodes of a float32 bundle's graphs have to stay in float32.

    Args:
        bundle: attention and group norm in pieces in all of its graphs.
        method: the bundle's.
        cases: of the parts that no composed graph holds.
        folder: for scratch files, as large together as the weights.
        say: is told what is done.

    Raises:
        CheckFailed: half precision cannot be.
    """
    dialect = Dialect(bundle.manifest.opset, Form.PIECES, Form.PIECES, strongly_typed=True)
    preparer = Preparer(bundle, dialect, Precision.FP16, folder, half_values=method.half_values)
    kept: dict[str, set[str]] = {name: set() for name in method.part_names}
    measured: dict[str, Mapping[str, Any]] = {}
    for part, inputs in cases.items():
        say(f"half precision: measure {part}")
        found = preparer.measure(part, cases=inputs)
        kept[part] = set(found.float32)
        measured[part] = _figures(found.to_dict())
    graphs = find_method(bundle.manifest.method).graphs_of(bundle.manifest)
    say(f"half precision: measure {', '.join(graphs)}")
    chosen = preparer.choose(graphs, {}, BOUNDS["fp16"].pipeline.psnr)
    for graph, choice in chosen.items():
        for name in choice["float32"]:
            copied = origin(name)
            if copied is not None:  # what composing adds only moves what was given or computed before
                kept[copied[0]].add(copied[1])
        measured[graph] = _figures(choice)
    pairs = chosen[graphs[0]]["loop"]
    return HalfChoice({part: tuple(sorted(names)) for part, names in kept.items()}, measured, pairs)


def write_half_graphs(
    bundle: Bundle,
    method: ExportMethod,
    choice: HalfChoice,
    geometry: Geometry,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras,
) -> dict[str, ir.Model]:
    """Return the graphs of a float32 bundle in half precision, their weights in `store`."""
    parts: dict[str, ir.Model] = {}
    half_values = method.half_values
    for name in method.part_names:
        model = ir.load(bundle.graph_path(name))
        infer_types(model)
        half_values -= _in_float32(model, method.inner_values, choice.float32[name])
        weights = list(model.graph.initializers.values())
        to_half(model, choice.float32[name], half_values)
        store.move([model])
        release_weights(weights)
        parts[name] = model
    return {**parts, **method.compose(parts, geometry, ir.DataType.FLOAT16, spec, store, extras)}


def write_half_tables(bundle: Bundle, method: ExportMethod, folder: Path) -> None:
    """Write a float32 bundle's tables into `folder`, those in half that its method says."""
    for name, file in bundle.manifest.tables.items():
        arrays = load_file(bundle.path / file)
        if name in method.half_tables:
            arrays = {key: array.astype(np.float16) for key, array in arrays.items()}
        (folder / file).parent.mkdir(exist_ok=True)
        save_file(arrays, folder / file)


def _in_float32(part: ir.Model, values: frozenset[str], kept: Sequence[str]) -> set[str]:
    """Return the outputs among `values` that are of a node in float32: half might not hold them."""
    return {
        str(value.name)
        for value in part.graph.outputs
        if value.name in values and (node := value.producer()) is not None and node.name in kept
    }


def _figures(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a graph's choice rests on; overflowing nodes counted."""
    figures = {key: value for key, value in choice.items() if key not in ("float32", "loop")}
    return {**figures, "overflowing": len(choice["overflowing"])}
