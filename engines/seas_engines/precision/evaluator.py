"""Emulates a graph in half: how large its values get, and how far its outputs are from float32."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from seas_engines.graphs.surgery import make_node
from seas_engines.precision.half import candidates, emulate_half
from seas_runtime import figures
from seas_runtime.manifest.schedule import Array

Feeds = Mapping[str, Array]
_IR_VERSION = 11  # of operator set 23
WEIGHTS_FILE = "weights.bin"


@dataclass(frozen=True)
class Case:
    """Inputs of a graph to measure it on."""

    name: str
    feeds: Feeds
    extreme: bool = False
    """Whether they lie beyond what generation feeds it."""
    extents: Mapping[str, float] = field(default_factory=dict)
    """By output: the least range that errors are relative to, where a small difference of large values is
    given out."""


class Evaluator:
    """Measures one float32 graph on some cases. A context manager, since it keeps the weights in a folder.

    The graph's types must be known (`half.infer_types`). `half_values` are graph inputs and outputs that
    become half as the nodes do.
    """

    def __init__(
        self,
        model: ir.Model,
        cases: Sequence[Case],
        folder: Path,
        threads: int = 0,
        half_values: Collection[str] = (),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix=".measure-")
        self._threads = threads
        self.cases = tuple(cases)
        self._model = model
        self.half_values = frozenset(half_values)
        self.runs = 0
        self.exact: list[dict[str, Array]] = []
        self.seconds = 0.0  # that the last case took in half
        self._largest: dict[str, float] = {}
        self._worst_first = list(range(len(self.cases)))
        self._exact_session: Any = None  # only where it is asked for again: it holds the weights

    def __enter__(self) -> Evaluator:
        exact = Path(self._folder.name) / "exact.onnx"
        save_model(self._model, exact)
        release_weights(self._model.graph.initializers.values())
        # Read back, the weights are a file's: variants of the graph share it and hold nothing themselves.
        self._model = ir.load(exact)
        try:
            if self.cases:
                self._run_exact()
        except BaseException:
            self._folder.cleanup()
            raise
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
        """Return by name of each node that may be half: the largest magnitude of its outputs and weights.

        Over all cases; infinite where a value is not finite.
        """
        return dict(self._largest)

    def candidates(self) -> tuple[str, ...]:
        """Return the names of the nodes that may be half, in the graph's order."""
        return tuple(str(node.name) for node in candidates(self._model, self.half_values))

    def readers(self, names: Collection[str]) -> set[str]:
        """Return the names of the nodes that may be half and read an output of one of `names`."""
        nodes = candidates(self._model, self.half_values)
        uses = [use for node in nodes if node.name in names for value in node.outputs for use in value.uses()]
        return {str(use.node.name) for use in uses} & {str(node.name) for node in nodes}

    def _run_exact(self) -> None:
        """Run every case in float32 once, for its outputs and for the largest values inside."""
        model = self._model.clone()
        graph = model.graph
        names = [str(value.name) for value in graph.outputs]
        nodes = candidates(model, self.half_values)
        outputs: dict[str, str] = {}
        for node in nodes:
            for value in node.outputs:
                if value.dtype is ir.DataType.FLOAT:
                    outputs[_watch(graph, value)] = str(node.name)
        found = {str(node.name): _largest_weight(node) for node in nodes}
        release_weights(graph.initializers.values())
        session = self._variant(model, watched=True)
        for case in self.cases:
            values = _run(session, case.feeds)
            self.exact.append({name: values[name] for name in names})
            for output, name in outputs.items():
                value = abs(float(values[output]))
                found[name] = max(found[name], value if math.isfinite(value) else math.inf)
        self._largest = found

    def error(self, keep: Collection[str] = ()) -> dict[str, float]:
        """Return each case's distance from float32 with all nodes but `keep` in half: see `distance`."""
        session = self._in_half(keep)
        found = [self._strays(session, place) for place in range(len(self.cases))]
        self._worst_first.sort(key=lambda place: -found[place])
        return {case.name: error for case, error in zip(self.cases, found, strict=True)}

    def within(self, keep: Collection[str], bound: float, extreme_bound: float) -> bool:
        """Return whether every case stays within its bound with all nodes but `keep` in half.

        The first case that does not ends the check, and is run first in the next.
        """
        session = self._in_half(keep)
        for place in list(self._worst_first):
            if self._strays(session, place) > (extreme_bound if self.cases[place].extreme else bound):
                self._worst_first.remove(place)
                self._worst_first.insert(0, place)
                return False
        return True

    def _in_half(self, keep: Collection[str]) -> Any:
        model = self._model.clone()
        emulate_half(model, keep, self.half_values)
        return self._variant(model)

    def _strays(self, session: Any, place: int) -> float:
        case = self.cases[place]
        began = time.perf_counter()
        made = _run(session, case.feeds)
        self.seconds = time.perf_counter() - began
        return max(
            distance(made[name], want, case.extents.get(name, 0.0))
            for name, want in self.exact[place].items()
        )

    def _variant(self, model: ir.Model, *, watched: bool = False) -> Any:
        self.runs += 1
        file = Path(self._folder.name) / "variant.onnx"
        ir.save(model, file)  # its weights lie in the folder already
        # Folded, rounded weights would be held beside the others; so they are rounded in every run.
        return self._session(file, ["ConstantFolding"], watched=watched)

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


def distance(made: Array, expected: Array, extent: float = 0.0) -> float:
    """Return the largest difference over the range of `expected`; infinite where `made` is not finite.

    `extent` is used where the range is less. Pixels are compared over 255.
    """
    if expected.dtype == np.uint8:
        return figures.largest_difference(made, expected) / 255
    if not np.isfinite(made).all():
        return math.inf
    return figures.largest_difference(made, expected) / max(figures.extent(expected), extent)


def save_model(model: ir.Model, file: Path) -> None:
    """Write a model and its weights, one file beside it, a tensor at a time."""
    model.ir_version = max(model.ir_version, _IR_VERSION if model.opset_imports[""] >= 23 else 10)
    ir.save(model, file, external_data=WEIGHTS_FILE)


def release_weights(values: Iterable[ir.Value]) -> None:
    """Release the file's pages that reading initializers has mapped; they are read again if need be."""
    for value in values:
        if isinstance(value.const_value, ir.ExternalTensor):
            with contextlib.suppress(BufferError):  # an array of it is still held
                value.const_value.release()


def _run(session: Any, feeds: Feeds) -> dict[str, Array]:
    names = [value.name for value in session.get_outputs()]
    with np.errstate(all="ignore"):
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _watch(graph: ir.Graph, value: ir.Value) -> str:
    """Add the largest magnitude of a value to the graph's outputs, computed as soon as the value is; returns
    the output's name."""
    name = f"{value.name}_largest"
    magnitude = make_node("Abs", [value], name=f"{value.name}_abs", results=[f"{value.name}_abs"], like=value)
    largest = make_node(
        "ReduceMax",
        magnitude.outputs,
        {"keepdims": 0},
        name=f"{value.name}_max",
        results=[name],
        like=value,
    )
    largest.outputs[0].shape = ir.Shape([])
    producer = value.producer()
    assert producer is not None
    graph.insert_after(producer, [magnitude, largest])
    graph.outputs.append(largest.outputs[0])
    return name


def _largest_weight(node: ir.Node) -> float:
    largest = 0.0
    for value in node.inputs:
        tensor = value.const_value if value is not None else None
        if tensor is not None and tensor.dtype is ir.DataType.FLOAT and tensor.size:
            array = tensor.numpy()
            largest = max(largest, float(array.max()), -float(array.min()))
    return largest
