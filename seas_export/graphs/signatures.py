"""What a manifest says of graphs: their files, inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from seas_runtime.manifest.types import GraphSpec, TensorSpec

GRAPHS_FOLDER = "graphs"


def signatures(graphs: Mapping[str, ir.Model]) -> dict[str, GraphSpec]:
    """Return file and signature of each graph, by name."""
    return {name: _signature(name, model) for name, model in graphs.items()}


def _signature(name: str, model: ir.Model) -> GraphSpec:
    inputs, outputs = (
        tuple(map(_tensor_spec, values)) for values in (model.graph.inputs, model.graph.outputs)
    )
    return GraphSpec(f"{GRAPHS_FOLDER}/{name}.onnx", inputs, outputs)


def _tensor_spec(value: ir.Value) -> TensorSpec:
    assert value.name
    assert value.dtype is not None
    assert value.shape is not None
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSpec(value.name, str(value.dtype.numpy()), shape)
