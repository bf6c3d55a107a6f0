"""A bundle in int8, out of one in float32: which inputs stay in float is measured on whole pairs.

The graphs of generation become int8; what is run once a pair (`encode_image`, `text_encoder`) stays as it is,
and the plain parts that nothing runs are left out, since they would be larger than all the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from seas_engines.precision.evaluator import release_weights
from seas_engines.precision.int8.layers import find_layers
from seas_engines.precision.int8.ranges import Ranges, WatchedGraph
from seas_engines.precision.int8.sample import CALIBRATED, JUDGED, Sample
from seas_engines.precision.int8.session import PlainGraph
from seas_engines.precision.int8.writing import to_int8
from seas_engines.precision.loop_check import Run, compare
from seas_export.export.parity.report import BOUNDS
from seas_export.graphs.weights import WeightStore, save_graphs
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.types import TEXT_ENCODER
from seas_runtime.methods.table import find_method

RATIOS = (24.0, 28.0, 32.0)
"""Signal over rounding noise (dB) that an input must have to become int8; a later one is taken where whole
pairs lie out of their bounds with an earlier one."""
LARGE = 400_000_000
"""Bytes of weights from which a pair takes minutes on a CPU."""
JUDGED_EACH = 3
"""Pairs of each defect and kind by which a bundle that is not large is judged: of fewer, one in which the
step's rounding leads to another picture decides alone."""


@dataclass(frozen=True)
class Int8Choice:
    """Which inputs stay in float, and what that rests on."""

    float32: Mapping[str, tuple[str, ...]]
    """Graph -> names of its layers whose input stays in float; their weights are int8."""
    layers: Mapping[str, int]
    """Graph -> how many layers it has."""
    ratio: float
    """Signal over rounding noise (dB) that every other layer's input has, in every step."""
    pairs: Mapping[str, Any]
    """How far whole pairs lie from those of float32."""

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON values, as the manifest holds it."""
        return {
            "float32": {graph: list(names) for graph, names in self.float32.items()},
            "layers": dict(self.layers),
            "ratio": self.ratio,
            "pairs": dict(self.pairs),
        }

    def to_text(self) -> str:
        """Return the choice in a line."""
        kept = sum(map(len, self.float32.values()))
        return (
            f"{kept} of {sum(self.layers.values())} layers keep their input in float; whole pairs lie "
            f"{self.pairs['psnr']:.1f} dB and IoU {self.pairs['iou']:.3f} from float32"
        )


def write_int8_graphs(
    bundle: Bundle, folder: Path, say: Callable[[str], None], threads: int = 0
) -> tuple[dict[str, ir.Model], Int8Choice]:
    """Write the graphs of a float32 bundle in int8 into `folder`, with those that stay; return them.

    Raises:
        CheckFailed: whole pairs lie out of their bounds however many inputs stay in float.
    """
    kept, quantized = _graphs(bundle)
    size = (bundle.path / bundle.manifest.graphs[kept[0]].file).with_name("weights.bin").stat().st_size
    large = size > LARGE
    calibrated, judged = (
        Sample(seed, each, steps=_few(bundle) if large else None, alternate=large)
        for seed, each in ((CALIBRATED, 1), (JUDGED, 1 if large else JUDGED_EACH))
    )
    say("int8: make pairs and watch what goes into each layer")
    ranges = Ranges()
    calibrated.run(bundle, _runs(bundle, bundle.path, kept, threads, quantized, ranges))
    say("int8: make the pairs in float32 that int8 is judged by")
    exact = judged.run(bundle, _runs(bundle, bundle.path, kept, threads))
    bound = BOUNDS["int8"].pipeline
    for ratio in RATIOS:
        say(f"int8: write the graphs; inputs of less than {ratio:g} dB over their rounding stay in float")
        models, float_inputs = _write(bundle, folder, kept, quantized, ranges, ratio)
        figures = compare(judged.run(bundle, _runs(bundle, folder, kept, threads)), exact)
        layers = {name: count for name, (count, _) in float_inputs.items()}
        choice = Int8Choice(
            {name: tuple(names) for name, (_, names) in float_inputs.items()},
            layers,
            ratio,
            figures.to_dict(),
        )
        say(f"int8: {choice.to_text()}")
        if figures.psnr >= bound.psnr and figures.iou >= bound.iou:
            return models, choice
    raise CheckFailed(
        f"int8: over {figures.pairs} whole pairs the images lie {figures.psnr:.1f} dB from float32 and the "
        f"masks' IoU is {figures.iou:.3f}; the bounds are {bound.psnr:g} dB and {bound.iou:g}. No bundle was "
        "written; use --precision fp16 or fp32"
    )


def _graphs(bundle: Bundle) -> tuple[list[str], list[str]]:
    """Return the graphs that an int8 bundle has, and those among them that become int8."""
    method, graphs = find_method(bundle.manifest.method), bundle.manifest.graphs
    run = set(method.graphs_of(bundle.manifest))
    steps = [name for name, spec in graphs.items() if spec.input("step_index") is not None]
    kept = [name for name in graphs if name in run or name in steps or name == TEXT_ENCODER]
    return kept, [name for name in kept if name in steps or name in method.graphs]


def _few(bundle: Bundle) -> int | None:
    """Return the fewest steps of the bundle's own sampler from ten on."""
    sampler = bundle.manifest.sampler.name
    counts = [item.steps for item in bundle.schedules.values() if item.sampler == sampler]
    return min((steps for steps in counts if steps >= 10), default=None)


def _runs(
    bundle: Bundle,
    folder: Path,
    names: Sequence[str],
    threads: int,
    watched: Sequence[str] = (),
    ranges: Ranges | None = None,
) -> dict[str, Run]:
    """Return functions that run the graphs in `folder`, each opened when it is first run."""
    runs: dict[str, Run] = {}
    for name in names:
        file = folder / bundle.manifest.graphs[name].file
        if ranges is not None and name in watched:
            runs[name] = WatchedGraph(file, ranges, threads).run
        else:
            runs[name] = PlainGraph(file, threads).run
    return runs


def _write(
    bundle: Bundle,
    folder: Path,
    kept: Sequence[str],
    quantized: Sequence[str],
    ranges: Ranges,
    ratio: float,
) -> tuple[dict[str, ir.Model], dict[str, tuple[int, list[str]]]]:
    """Write the graphs; return them, and of each the number of layers and those with inputs in float."""
    keep = {key for key in ranges.keys if ranges.ratio(key) < ratio}
    scales = {key: ranges.scale(key) for key in ranges.keys}
    place = folder / bundle.manifest.graphs[kept[0]].file
    models: dict[str, ir.Model] = {}
    chosen: dict[str, tuple[int, list[str]]] = {}
    with WeightStore(place.parent) as store:
        for name in kept:
            model = ir.load(bundle.graph_path(name))
            weights = list(model.graph.initializers.values())
            if name in quantized:
                layers = list(find_layers(model))
                floats = [str(layer.node.name) for layer in layers if layer.key in keep]
                chosen[name] = len(layers), floats
                to_int8(model, scales, keep)
            store.move([model])
            release_weights(weights)
            models[name] = model
    save_graphs(models, place.parent)
    return models, chosen
