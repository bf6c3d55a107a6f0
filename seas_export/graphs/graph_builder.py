"""Builds an ONNX graph out of operators and whole graphs, whose weights stay the tensors that they were."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.guidance import Halves

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
        node = ir.Node(
            "", op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=outputs
        )
        return self._append(node, op_type.lower())

    def constant(self, array: np.ndarray) -> ir.Value:
        """Add a small initializer."""
        return self._initializer(ir.tensor(array), "constant")

    def inline(
        self, model: ir.Model, inputs: Mapping[str, ir.Value], halves: Halves | None = None
    ) -> dict[str, ir.Value]:
        """Append a copy of a model's nodes, reading `inputs`; return its outputs by name.

        A node keeps its name, behind its model's: see `origin`. With `halves`, what its `both` computes reads
        what is `repeated` twice over, along the batch.
        """
        twice: dict[ir.Value | None, ir.Value] = {}
        known: dict[ir.Value | None, ir.Value | None] = {None: None}
        for value in model.graph.inputs:
            known[value] = inputs[str(value.name)]
        for value in model.graph.initializers.values():
            assert value.const_value is not None
            known[value] = self._initializer(value.const_value, "weight")
        for node in model.graph:
            apart = halves is not None and halves.both.issuperset(node.outputs)
            repeated = halves.repeated if halves is not None and apart else frozenset()
            for value in node.inputs:
                if value in repeated and value not in twice:
                    twice[value] = self._repeated(known[value])
            copied = ir.Node(
                node.domain,
                node.op_type,
                [twice[value] if value in repeated else known[value] for value in node.inputs],
                list(node.attributes.values()),
                num_outputs=len(node.outputs),
            )
            made = self._append(copied, node.op_type.lower(), f"{model.graph.name}{_OF}{node.name}")
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

    def _append(self, node: ir.Node, stem: str, name: str = "") -> list[ir.Value]:
        for value in node.outputs:
            value.name = self._fresh(stem)
        node.name = name or self._fresh(stem)
        self._graph.append(node)
        return list(node.outputs)

    def _initializer(self, tensor: ir.TensorProtocol, stem: str) -> ir.Value:
        value = ir.Value(
            name=self._fresh(stem), shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self._graph.register_initializer(value)
        return value

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
