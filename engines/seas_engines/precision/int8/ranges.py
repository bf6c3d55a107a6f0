"""How large what goes into layers gets while pairs are made, and what int8 would lose of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from seas_engines.graphs.surgery import make_node
from seas_engines.precision.int8.layers import LEVELS, find_layers
from seas_engines.precision.int8.session import open_graph
from seas_runtime.manifest.schedule import Array


class Ranges:
    """By layer (`Layer.key`): the largest magnitude that went into it, and the least power."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}
        self._power: dict[str, float] = {}

    def add(self, key: str, largest: float, power: float) -> None:
        """Add one run: the largest magnitude, and the mean square."""
        self.largest[key] = max(self.largest.get(key, 0.0), largest)
        self._power[key] = min(self._power.get(key, math.inf), power)

    def scale(self, key: str) -> float:
        """Return the step between two int8."""
        return max(self.largest[key], 1e-12) / LEVELS

    def ratio(self, key: str) -> float:
        """Return signal over rounding noise in dB, of the run where it was least.

        Rounding to steps of s adds noise of s^2 / 12 (Widrow 1956).
        """
        noise = self.scale(key) ** 2 / 12
        return 10 * math.log10(max(self._power[key], 1e-30) / noise)

    @property
    def keys(self) -> Iterable[str]:
        """The layers that were seen."""
        return self.largest.keys()


class WatchedGraph:
    """A float32 graph that tells `Ranges` what goes into its layers, and runs as it always does."""

    def __init__(self, file: Path, ranges: Ranges, threads: int = 0) -> None:
        self._file, self._threads = file, threads
        self._session: Any = None  # until it is first run
        self._ranges = ranges
        self._names: list[str] = []
        self._watched: dict[str, list[str]] = {}  # output -> layers

    def _open(self) -> Any:
        model = ir.load(self._file)
        self._names = [str(value.name) for value in model.graph.outputs]
        watched: dict[ir.Value, str] = {}
        for layer in list(find_layers(model)):
            if layer.source not in watched:
                watched[layer.source] = _watch(model.graph, layer.source, len(watched))
            self._watched.setdefault(watched[layer.source], []).append(layer.key)
        return open_graph(model, self._file.parent, self._threads, in_order=True)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph."""
        if self._session is None:
            self._session = self._open()
        stems = list(self._watched)
        wanted = [*self._names, *(f"{stem}_{what}" for stem in stems for what in ("largest", "power"))]
        made: dict[str, Any] = dict(zip(wanted, self._session.run(wanted, dict(feeds)), strict=True))
        for stem, keys in self._watched.items():
            for key in keys:
                self._ranges.add(key, float(made[f"{stem}_largest"]), float(made[f"{stem}_power"]))
        return {name: made[name] for name in self._names}


def _watch(graph: ir.Graph, value: ir.Value, place: int) -> str:
    """Add a value's largest magnitude and mean square to the graph's outputs; returns their names' stem."""
    stem = f"watched_{place}"
    kind = ir.TensorType(ir.DataType.FLOAT)
    nodes = []
    for what, inner, outer in (("largest", "Abs", "ReduceMax"), ("power", "Mul", "ReduceMean")):
        inputs = [value] if inner == "Abs" else [value, value]
        first = make_node(inner, inputs, name=f"{stem}_{what}_first", results=[f"{stem}_{what}_first"])
        last = make_node(
            outer, first.outputs, {"keepdims": 0}, name=f"{stem}_{what}", results=[f"{stem}_{what}"]
        )
        first.outputs[0].type = last.outputs[0].type = kind
        last.outputs[0].shape = ir.Shape([])
        nodes += [first, last]
        graph.outputs.append(last.outputs[0])
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, nodes)
    else:
        graph.insert_before(graph[0], nodes)
    return stem
