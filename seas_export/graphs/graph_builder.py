"""Builds an ONNX graph out of operators and whole graphs, whose weights stay the tensors that they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.guidance import Division
from seas_engines.graphs.surgery import add_weight, make_node

_OF = "/"
_IR_VERSION = 10  # opset 20 is older; ONNX Runtime 1.18, the oldest that the runtime takes, reads up to 10


class GraphBuilder:
    """An ONNX graph in the making: named inputs, operators, whole graphs inlined, named outputs."""

    def __init__(self, name: str, opset: int) -> None:
        self._graph = ir.Graph([], [], nodes=[], name=name, opset_imports={"": opset})
        self._count = 0

    def input(self, name: str, dtype: ir.DataType, shape: list[int | str]) -> ir.Value:
        """Add a graph input."""
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self._graph.inputs.append(value)
        return value

    def op(
        self, op_type: str, *inputs: ir.Value, outputs: int = 1, **attributes: int | list[int]
    ) -> list[ir.Value]:
        """Append a node of the standard operator set; returns its outputs."""
        return self._append(op_type, inputs, attributes, outputs)

    def constant(self, array: np.ndarray) -> ir.Value:
        """Add a small initializer."""
        return add_weight(self._graph, self._fresh("constant"), ir.tensor(array))

    def inline(
        self, model: ir.Model, inputs: Mapping[str, ir.Value], division: Division | None = None
    ) -> dict[str, ir.Value]:
        """Append a copy of a model's nodes, reading `inputs`; return its outputs by name.

        A node keeps its name, behind its model's: see `origin`. With `division`, what computes its `both`
        reads its `repeated` twice over, along the batch.
        """
        twice: dict[ir.Value | None, ir.Value] = {}
        known: dict[ir.Value | None, ir.Value | None] = {None: None}
        for value in model.graph.inputs:
            known[value] = inputs[str(value.name)]
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            known[value] = add_weight(self._graph, self._fresh("weight"), value.const_value)
        for node in model.graph:
            apart = division is not None and division.both.issuperset(node.outputs)
            repeated = division.repeated if division is not None and apart else frozenset()
            for value in node.inputs:
                if value in repeated and value not in twice:
                    twice[value] = self._repeated(known[value])
            given = [twice[value] if value in repeated else known[value] for value in node.inputs]
            name = f"{model.graph.name}{_OF}{node.name}"
            made = self._append(
                node.op_type, given, node.attributes, len(node.outputs), name=name, domain=node.domain
            )
            for old, new in zip(node.outputs, made, strict=True):
                new.type = old.type
                new.shape = _generic(old.shape)
                known[old] = new
        result = {str(value.name): known[value] for value in model.graph.outputs}
        return {name: value for name, value in result.items() if value is not None}

    def build(self, outputs: Mapping[str, tuple[ir.Value, ir.DataType, list[int | str]]]) -> ir.Model:
        """Name the outputs, drop what they do not need, and return the model."""
        for name, (value, dtype, shape) in outputs.items():
            value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape(shape)
            self._graph.outputs.append(value)
        model = ir.Model(self._graph, ir_version=_IR_VERSION, producer_name="seas-export")
        passes.RemoveUnusedNodesPass()(model)
        return model

    def _repeated(self, value: ir.Value | None) -> ir.Value:
        """Append a value's repetition along the batch."""
        assert value is not None
        (doubled,) = self.op("Concat", value, value, axis=0)
        doubled.type, doubled.shape = value.type, _generic(value.shape)
        return doubled

    def _append(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        outputs: int,
        name: str = "",
        domain: str = "",
    ) -> list[ir.Value]:
        stem = op_type.lower()
        results = [self._fresh(stem) for _ in range(outputs)]
        name = name or self._fresh(stem)
        node = make_node(op_type, inputs, attributes, name=name, results=results, domain=domain)
        self._graph.append(node)
        return list(node.outputs)

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def origin(name: str) -> tuple[str, str] | None:
    """Return the part and its node that a composed graph's node is a copy of, by name; None for its own."""
    part, of, node = name.partition(_OF)
    return (part, node) if of else None


def _generic(shape: ir.Shape | None) -> ir.Shape | None:
    """Drop a dynamic size's name: in the composition it stands for another size."""
    if shape is None:
        return None
    return ir.Shape([size if isinstance(size, int) else None for size in shape])
