"""Every graph of a bundle against PyTorch on the same inputs, through Polygraphy's Comparator."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from polygraphy.backend.base import BaseRunner
from polygraphy.backend.onnxrt import OnnxrtRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator
from polygraphy.logger import G_LOGGER

from seas_export.export.parity.report import GraphBound, GraphRow
from seas_export.methods.contract import Reference
from seas_runtime.figures import extent, largest_difference
from seas_runtime.manifest.schedule import Schedule
from seas_runtime.manifest.types import GraphSpec
from seas_train import Checkpoint

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class ExpectedGraphs:
    """What PyTorch makes of each graph's inputs."""

    feeds: Mapping[str, OrderedDict[str, Array]]
    """Graph -> input -> array, floating-point ones in float32."""
    outputs: Mapping[str, OrderedDict[str, Array]]
    """Graph -> output -> array, float32 whatever the graph's precision."""


def expect_graphs(
    reference: Reference,
    graphs: Mapping[str, GraphSpec],
    checkpoint: Checkpoint,
    schedule: Schedule,
    batch: int,
    seed: int = 0,
) -> ExpectedGraphs:
    """Run PyTorch, in float32, on inputs for every graph.

    Args:
        reference: the method in PyTorch.
        graphs: the bundle's manifest's.
        checkpoint: what it was exported from.
        schedule: one of the bundle's, whose middle step is compared.
        batch: items in the inputs; other than what the graphs were traced with, so that a batch that stayed
            fixed is found.
        seed: of the noise in the inputs.
    """
    made = reference.inputs(checkpoint, schedule, seed, batch)
    feeds, outputs = {}, {}
    for name, spec in graphs.items():
        feeds[name] = OrderedDict(
            (key, value.astype(np.float32, copy=False) if value.dtype.kind == "f" else value)
            for key, value in made[name].items()
            if spec.input(key) is not None
        )
        runner = TorchRunner(
            reference.module(name, checkpoint), feeds[name], [tensor.name for tensor in spec.outputs]
        )
        with runner:
            outputs[name] = OrderedDict(runner.infer(feeds[name]))
    return ExpectedGraphs(feeds, outputs)


def compare_graphs(
    folder: Path, graphs: Mapping[str, GraphSpec], expected: ExpectedGraphs, bound: GraphBound
) -> Iterator[GraphRow]:
    """Yield a row for each output of each graph of the bundle in `folder`, one loaded at a time."""
    for name, spec in graphs.items():
        feeds = OrderedDict(
            (tensor.name, expected.feeds[name][tensor.name].astype(tensor.dtype, copy=False))
            for tensor in spec.inputs
        )
        yield from _compare(name, folder / spec.file, feeds, expected.outputs[name], bound)


class TorchRunner(BaseRunner):  # type: ignore[misc]
    """A Polygraphy runner of a PyTorch module, in float32 and inference mode."""

    def __init__(self, module: Callable[..., Any], inputs: Mapping[str, Array], outputs: list[str]) -> None:
        super().__init__(name="pytorch", prefix="pytorch-runner")
        self._module, self._inputs, self._outputs = module, inputs, outputs

    def get_input_metadata_impl(self) -> Any:
        """Return names, dtypes and shapes of the inputs."""
        metadata = TensorMetadata()
        for name, array in self._inputs.items():
            metadata.add(name, dtype=array.dtype, shape=array.shape)
        return metadata

    def infer_impl(self, feed_dict: Mapping[str, Array]) -> OrderedDict[str, Array]:
        """Run the module."""
        tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in feed_dict.items()}
        began = time.perf_counter()
        with torch.inference_mode():
            made = self._module(**tensors)
        self.inference_time = time.perf_counter() - began
        made = made if isinstance(made, tuple) else (made,)
        return OrderedDict((name, tensor.numpy()) for name, tensor in zip(self._outputs, made, strict=True))


class RangeComparison:
    """Polygraphy's comparison function: differences relative to the tensor's range, kept as rows."""

    def __init__(self, graph: str, bound: GraphBound) -> None:
        self._graph, self._bound = graph, bound
        self.rows: list[GraphRow] = []

    def __call__(self, found: Mapping[str, Array], expected: Mapping[str, Array]) -> OrderedDict[str, bool]:
        """Compare the runs of one input; return whether each output is within its bound."""
        self.rows = [self._row(name, found[name], expected[name]) for name in expected]
        return OrderedDict((row.output, row.passed) for row in self.rows)

    def _row(self, name: str, found: Array, expected: Array) -> GraphRow:
        integers = expected.dtype == np.uint8
        bound = self._bound.levels / 255 if integers else self._bound.relative
        if found.shape != expected.shape:
            return GraphRow(self._graph, name, float("inf"), float("inf"), bound, False)
        difference = largest_difference(found, expected)
        relative = difference / (255.0 if integers else extent(expected))
        return GraphRow(self._graph, name, difference, relative, bound, bool(relative <= bound))  # NaN fails


def _compare(
    name: str, file: Path, feed: OrderedDict[str, Array], expected: Mapping[str, Array], bound: GraphBound
) -> list[GraphRow]:
    comparison = RangeComparison(name, bound)
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        results = Comparator.run(
            [OnnxrtRunner(lambda: _session(file), name="onnxruntime")], data_loader=[feed]
        )
        results.add([expected], runner_name="pytorch")
        Comparator.compare_accuracy(results, compare_func=comparison)
    return comparison.rows


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
