"""Channels last: convolutions, group norms and all between them on [B,H,W,C], as tensor cores want them.

A graph is written on [B,C,H,W]. Each node that has a form for channels last is given one, and a value is
turned only where a node of one layout reads one of the other. `Transpose` nodes that a graph has of its own,
around attention, become a change of name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from seas_engines.graphs.surgery import (
    DOMAIN,
    Writer,
    array_of,
    computed,
    constant,
    give_out,
    is_weight,
    sizes,
    take_over,
)

ELEMENTWISE = frozenset(
    ["Add", "Cast", "Clip", "Div", "Gelu", "Identity", "Mul", "Relu", "Round", "Sigmoid", "Sub"]
)
TO_LAST, TO_FIRST = {3: [0, 2, 1], 4: [0, 2, 3, 1]}, {3: [0, 2, 1], 4: [0, 3, 1, 2]}  # axes by rank


def to_channels_last(model: ir.Model) -> None:
    """Turn a model's convolutions and what lies between them to channels last, in place.

    Group norms must be whole (`GroupNormalization`); those become ONNX Runtime's GroupNorm, convolutions its
    NhwcConv. The shapes of all values must be known but for the batch. Inputs and outputs keep their layout.
    """
    _ChannelsLast(model.graph).run()
    model.graph.opset_imports.setdefault(DOMAIN, 1)
    passes.RemoveUnusedNodesPass()(model)


class _ChannelsLast:
    """One pass over a graph. `_last` has the channels-last form of values that have one."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._last: dict[ir.Value, ir.Value] = {}
        self._first: dict[ir.Value, ir.Value] = {}
        self._made: dict[ir.Value, ir.Value] = {}  # channels-last form of values that live channels first
        self._write = Writer("last", numbered=True)
        self._rules: dict[str, Callable[[ir.Node], bool]] = {
            "Conv": self._conv,
            "GroupNormalization": self._group_norm,
            "Resize": self._resize,
            "Transpose": self._transpose,
            "Reshape": self._reshape,
            "Unsqueeze": self._unsqueeze,
            "Concat": self._concat,
            "Split": self._split,
            **dict.fromkeys(ELEMENTWISE, self._elementwise),
        }

    def run(self) -> None:
        """Rewrite every node in the order of running."""
        for node in list(self._graph):
            rule = self._rules.get(node.op_type) if node.domain == "" else None
            if rule is None or not rule(node):
                for place, value in enumerate(node.inputs):
                    if value in self._last:
                        node.replace_input_with(place, self._channels_first(value))
            self._graph.insert_before(node, self._write.made)
            self._write.made.clear()
        for value in list(self._graph.outputs):
            if value in self._last:
                give_out(self._graph, value, self._channels_first(value))
        self._graph.extend(self._write.made)

    def _conv(self, node: ir.Node) -> bool:
        source, weight = node.inputs[0], node.inputs[1]
        if source is None or not is_weight(weight) or not _is_plain(node):
            return False
        if len(sizes(weight)) != 4:
            return False
        outputs, channels, height, width = sizes(weight)
        kernels = computed(
            self._graph,
            f"{weight.name}_kernels",
            weight.dtype,
            (outputs, height, width, channels),
            lambda: array_of(weight).transpose(0, 2, 3, 1),
        )
        inputs = [self._channels_last(source), kernels, *node.inputs[2:]]
        return self._put(node, "NhwcConv", *inputs, domain=DOMAIN, **node.attributes)

    def _group_norm(self, node: ir.Node) -> bool:
        source, scale, bias = node.inputs
        assert source is not None
        assert scale is not None
        assert bias is not None
        rank, channels = _rank(source), _channels(source)
        if rank not in TO_LAST or channels is None:
            return False
        last = self._channels_last(source)
        if rank == 3:
            last = self._reshaped(last, [0, -1, 1, channels])
        made = self._write.op(
            "GroupNorm",
            last,
            self._wide(scale),
            self._wide(bias),
            domain=DOMAIN,
            groups=node.attributes["num_groups"].as_int(),
            epsilon=node.attributes["epsilon"].as_float(),
            activation=0,
            channels_last=1,
        )
        if rank == 3:
            made = self._reshaped(made, [0, -1, channels])
        return self._note(node.outputs[0], made)

    def _resize(self, node: ir.Node) -> bool:
        """Nearest neighbours by whole factors alone: the provider's other modes want channels first."""
        source = node.inputs[0]
        if source not in self._last or node.attributes["mode"].as_string() != "nearest":
            return False
        large = node.outputs[0].shape
        assert source is not None
        if large is None or source.shape is None or _rank(source) != 4:
            return False
        _, channels, height, width = source.shape
        if not all(isinstance(size, int) for size in (channels, height, width, large[2], large[3])):
            return False
        down, across = large[2] // height, large[3] // width
        if large[2] != down * height or large[3] != across * width:
            return False
        scales = constant(self._graph, "scales_last", np.array([1, down, across, 1], np.float32))
        return self._put(node, "Resize", self._last[source], None, scales, **node.attributes)

    def _transpose(self, node: ir.Node) -> bool:
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        order, rank = list(node.attributes["perm"].as_ints()), _rank(source)
        if source in self._last and order == TO_LAST.get(rank or 0):
            same = self._last[source]
            if not result.is_graph_output():
                ir.convenience.replace_all_uses_with(result, same)
            elif same.producer() is None or same.is_graph_output():
                return False
            else:
                take_over(result, same)
            return True
        if source not in self._last and order == TO_FIRST.get(rank or 0):
            self._last[result] = source
            return True
        return False

    def _reshape(self, node: ir.Node) -> bool:
        """Between [B,C,H,W] and [B,C,H*W]; anything else is channels first."""
        source, result = node.inputs[0], node.outputs[0]
        if source not in self._last or source is None or source.shape is None or result.shape is None:
            return False
        old, new = list(source.shape), list(result.shape)
        if len(old) not in TO_LAST or len(new) not in TO_LAST or old[1] != new[1]:
            return False
        if not all(isinstance(size, int) for size in [*old[1:], *new[1:]]):
            return False
        if math.prod(old[2:]) != math.prod(new[2:]):
            return False
        return self._note(result, self._reshaped(self._last[source], [0, *new[2:], new[1]]))

    def _unsqueeze(self, node: ir.Node) -> bool:
        """[B,C] to [B,C,1,1], one axis at a time: what is added per image and channel."""
        result = node.outputs[0]
        if _rank(result) != 4 or result.shape is None or list(result.shape[2:]) != [1, 1]:
            return False
        source = node.inputs[0]
        while source is not None and (_rank(source) or 0) > 2:
            producer = source.producer()
            if producer is None or producer.op_type != "Unsqueeze":
                return False
            source = producer.inputs[0]
        channels = result.shape[1]
        if source is None or _rank(source) != 2 or not isinstance(channels, int):
            return False
        return self._note(result, self._reshaped(source, [0, 1, 1, channels]))

    def _concat(self, node: ir.Node) -> bool:
        axis = node.attributes["axis"].as_int()
        if not any(value in self._last for value in node.inputs) or axis not in (0, 1):
            return False
        rank = _rank(node.outputs[0])
        if rank not in TO_LAST:
            return False
        inputs = [self._channels_last(value) for value in node.inputs if value is not None]
        return self._put(node, "Concat", *inputs, axis=axis if axis == 0 else rank - 1)

    def _split(self, node: ir.Node) -> bool:
        source = node.inputs[0]
        axis = node.attributes.get_int("axis", 0)
        if source is None or source not in self._last or axis not in (0, 1):
            return False
        attributes: dict[str, Any] = {key: value for key, value in node.attributes.items() if key != "axis"}
        attributes["axis"] = axis if axis == 0 else (_rank(source) or 0) - 1
        return self._put(node, "Split", self._last[source], *node.inputs[1:], **attributes)

    def _elementwise(self, node: ir.Node) -> bool:
        """Where all that is as large as the result lives channels last."""
        if not any(value in self._last for value in node.inputs):
            return False
        inputs: list[ir.Value | None] = []
        for value in node.inputs:
            turned = value if value is None else self._operand(value, node.outputs[0])
            if value is not None and turned is None:
                return False
            inputs.append(turned)
        return self._put(node, node.op_type, *inputs, **node.attributes)

    def _operand(self, value: ir.Value, result: ir.Value) -> ir.Value | None:
        """Return an elementwise node's operand for channels last; None where it would have to be turned."""
        for known in (self._last, self._made):
            if value in known:
                return known[value] if _rank(value) == _rank(result) else None
        if value.shape is not None and all(size == 1 for size in value.shape):
            return value
        rank = _rank(result)
        if not is_weight(value) or rank is None:
            return None
        shape = [1] * (rank - len(sizes(value))) + sizes(value)
        if shape[0] != 1 or any(size != 1 for size in shape[2:]):
            return None
        name, channels = f"{value.name}_channels", (shape[1],)
        return computed(self._graph, name, value.dtype, channels, lambda: array_of(value).reshape(-1))

    def _channels_last(self, value: ir.Value) -> ir.Value:
        """Return a value's channels-last form, turning it where it has none."""
        if value in self._last:
            return self._last[value]
        if value not in self._made:
            turned = self._turned(value, TO_LAST, value)
            turned.shape = _turned_shape(value.shape)
            self._made[value] = turned
        return self._made[value]

    def _channels_first(self, value: ir.Value) -> ir.Value:
        """Return a value that lives channels last as the graph has it."""
        if value not in self._first:
            turned = self._turned(self._last[value], TO_FIRST, value)
            turned.shape = value.shape
            self._first[value] = turned
        return self._first[value]

    def _turned(self, source: ir.Value, orders: dict[int, list[int]], value: ir.Value) -> ir.Value:
        made = self._write.op("Transpose", source, perm=orders[_rank(value) or 0])
        made.type = value.type
        return made

    def _put(self, old: ir.Node, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> bool:
        """Write a node's channels-last form; nobody reads the node then."""
        made = self._write.node(op_type, *inputs, outputs=len(old.outputs), **attributes)
        return all([self._note(*pair) for pair in zip(old.outputs, made.outputs, strict=True)])

    def _note(self, old: ir.Value, new: ir.Value) -> bool:
        """Keep the channels-last form of a value."""
        new.type, new.shape = old.type, _turned_shape(old.shape)
        self._last[old] = new
        return True

    def _reshaped(self, value: ir.Value, to: Sequence[int]) -> ir.Value:
        made = self._write.op("Reshape", value, constant(self._graph, "sizes", np.array(to, np.int64)))
        made.type = value.type
        return made

    def _wide(self, value: ir.Value) -> ir.Value:
        """Return a norm's weights in float32, as the operator takes them beside half values too."""
        return constant(self._graph, f"{value.name}_wide", array_of(value).astype(np.float32))


def _rank(value: ir.Value) -> int | None:
    return len(value.shape) if value.shape is not None else None


def _channels(value: ir.Value) -> int | None:
    size = value.shape[1] if value.shape is not None and len(value.shape) > 1 else None
    return size if isinstance(size, int) else None


def _is_plain(node: ir.Node) -> bool:
    """Whether a convolution has one group, and says its padding in numbers."""
    given = node.attributes
    return bool(given.get_int("group", 1) == 1 and given.get_string("auto_pad", "NOTSET") == "NOTSET")


def _turned_shape(shape: ir.Shape | None) -> ir.Shape | None:
    order = None if shape is None else TO_LAST.get(len(shape))
    return shape if shape is None or order is None else ir.Shape([shape[axis] for axis in order])
