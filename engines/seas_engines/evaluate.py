"""Runs a graph as it would behave in half, and measures how large its values get and how far it strays."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from seas_engines.half import candidates, emulate_half
from seas_runtime.schedule import Array

Feeds = Mapping[str, Array]
_IR_VERSION = 11  # of operator set 23
WEIGHTS_FILE = "weights.bin"


@dataclass(frozen=True)
class Case:
    """Inputs of a graph, `extreme` where they lie beyond what generation feeds it."""

    name: str
    feeds: Feeds
    extreme: bool = False


class Evaluator:
    """Measures one float32 graph on some cases. A context manager: it keeps its weights in a folder.

    The graph's types must be known (`half.infer_types`).
    """

    def __init__(self, model: ir.Model, cases: Sequence[Case], folder: Path, threads: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix=".measure-")
        self._threads = threads
        self.cases = tuple(cases)
        self._model = model
        self.runs = 0
        self._exact_session: Any = None  # only where it is asked for again: it holds the weights

    def __enter__(self) -> Evaluator:
        exact = Path(self._folder.name) / "exact.onnx"
        save_model(self._model, exact)
        # Read back, the weights are a file's: variants of the graph share it and hold nothing themselves.
        self._model = ir.load(exact)
        session = self._session(exact)
        began = time.perf_counter()
        self.exact = [_run(session, case.feeds) for case in self.cases]
        self.seconds = (time.perf_counter() - began) / max(1, len(self.cases))
        return self

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run the graph as it was given."""
        if self._exact_session is None:
            self._exact_session = self._session(Path(self._folder.name) / "exact.onnx")
        return _run(self._exact_session, feeds)

    def __exit__(self, *_: object) -> None:
        self._exact_session = None
        self._model = ir.Model(ir.Graph([], [], nodes=[]), ir_version=_IR_VERSION)
        self._folder.cleanup()

    def largest(self) -> dict[str, float]:
        """Return the largest magnitude that each node which may be half gives, or is given as a weight.

        Infinite where a value is not finite. By node name, over all cases.
        """
        model = self._model.clone()
        graph = model.graph
        nodes = candidates(model)
        outputs: dict[str, str] = {}
        for node in nodes:
            for value in node.outputs:
                if value.dtype is ir.DataType.FLOAT:
                    outputs[_watch(graph, value)] = str(node.name)
        found = {str(node.name): _largest_weight(node) for node in nodes}
        for values in self._variant(model, list(outputs)):
            for output, name in outputs.items():
                value = abs(float(values[output]))
                found[name] = max(found[name], value if math.isfinite(value) else math.inf)
        return found

    def error(self, keep: Collection[str] = ()) -> dict[str, float]:
        """Return how far each case strays with all but `keep` in half: see `distance`."""
        model = self._model.clone()
        emulate_half(model, keep)
        found = self._variant(model, None)
        return {
            case.name: max(distance(made[name], want) for name, want in expected.items())
            for case, made, expected in zip(self.cases, found, self.exact, strict=True)
        }

    def _variant(self, model: ir.Model, outputs: list[str] | None) -> list[dict[str, Array]]:
        self.runs += 1
        file = Path(self._folder.name) / "variant.onnx"
        _save_beside(model, file)
        # Folded, rounded weights would be held beside the others; so they are rounded in every run.
        session = self._session(file, ["ConstantFolding"], watched=outputs is not None)
        return [_run(session, case.feeds, outputs) for case in self.cases]

    def _session(self, file: Path, disabled: Sequence[str] = (), *, watched: bool = False) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 4
        if watched:
            # A full-size graph's values must not all be held. Nodes run in about the file's order, so that
            # one that is watched is freed before the next comes; freed memory goes back, no weight is copied.
            options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
            options.enable_cpu_mem_arena = False
            options.add_session_config_entry("session.disable_prepacking", "1")
        return onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
        )


def distance(made: Array, expected: Array) -> float:
    """Return the largest difference over the range of `expected`; infinite where `made` is not finite.

    Pixels are compared over 255.
    """
    if expected.dtype == np.uint8:
        return float(np.abs(made.astype(np.float64) - expected).max()) / 255
    if not np.isfinite(made).all():
        return math.inf
    wide = expected.astype(np.float64)
    extent = float(wide.max() - wide.min()) or float(np.abs(wide).max()) or 1.0
    return float(np.abs(made - wide).max()) / extent


def save_model(model: ir.Model, file: Path) -> None:
    """Write a model and its weights, one file beside it, a tensor at a time."""
    model.ir_version = max(model.ir_version, _IR_VERSION if model.opset_imports[""] >= 23 else 10)
    ir.save(model, file, external_data=WEIGHTS_FILE)


def _save_beside(model: ir.Model, file: Path) -> None:
    """Write a model whose weights lie in the folder already."""
    ir.save(model, file)


def _run(session: Any, feeds: Feeds, outputs: list[str] | None = None) -> dict[str, Array]:
    names = outputs or [value.name for value in session.get_outputs()]
    with np.errstate(all="ignore"):
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _watch(graph: ir.Graph, value: ir.Value) -> str:
    """Add the largest magnitude of a value to the graph's outputs, taken as soon as it is there; returns the
    output's name."""
    magnitude = ir.Node("", "Abs", [value], name=f"{value.name}_abs")
    largest = ir.Node(
        "", "ReduceMax", magnitude.outputs, [ir.AttrInt64("keepdims", 0)], name=f"{value.name}_max"
    )
    for node, stem in ((magnitude, "abs"), (largest, "largest")):
        node.outputs[0].name = f"{value.name}_{stem}"
        node.outputs[0].type = value.type
    largest.outputs[0].shape = ir.Shape([])
    producer = value.producer()
    assert producer is not None
    graph.insert_after(producer, [magnitude, largest])
    graph.outputs.append(largest.outputs[0])
    return str(largest.outputs[0].name)


def _largest_weight(node: ir.Node) -> float:
    largest = 0.0
    for value in node.inputs:
        tensor = value.const_value if value is not None else None
        if tensor is not None and tensor.dtype is ir.DataType.FLOAT and tensor.size:
            array = tensor.numpy()
            largest = max(largest, float(array.max()), -float(array.min()))
    return largest
