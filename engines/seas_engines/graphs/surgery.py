"""Surgery on a graph: find nodes, write others in their place, give them weights.

Every rewriting is made of these. Large weights are computed when they are written to a file, and not held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

AnyArray = npt.NDArray[np.generic]
DOMAIN = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
PIECES = "pieces"
"""Under this key the `meta` of a node has the names of the nodes that it was made of."""


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node that makes a value, where it is of this operator; of several, the last of a chain.

    A chain follows first inputs: `producer(value, "Transpose", "Cast")` is the Cast of a Transpose(Cast(x)).
    """
    node = None
    for op_type in op_types:
        node = value.producer() if value is not None else None
        if node is None or node.op_type != op_type:
            return None
        value = node.inputs[0] if node.inputs else None
    return node


def only_user(value: ir.Value, op_type: str) -> ir.Node | None:
    """Return the node that reads a value, where it is the only one and of this operator."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != op_type:
        return None
    return uses[0].node


def untransposed(value: ir.Value | None, order: list[int]) -> ir.Value | None:
    """Return what a value is a transpose of, where that is by this order of axes."""
    turned = producer(value, "Transpose")
    if turned is None or list(turned.attributes.get_ints("perm", ())) != order:
        return None
    return turned.inputs[0]


def is_weight(value: ir.Value | None) -> TypeGuard[ir.Value]:
    """Whether a value's numbers are in the graph."""
    return value is not None and ir.convenience.get_const_tensor(value) is not None


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """Return the tensor of a weight."""
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    return tensor


def sizes(weight: ir.Value) -> list[int]:
    """Return the sizes of a weight."""
    return [int(size) for size in tensor_of(weight).shape.numpy()]


def array_of(weight: ir.Value) -> AnyArray:
    """Return the numbers of a weight."""
    return np.asarray(tensor_of(weight).numpy())


def number(value: ir.Value | None) -> float | None:
    """Return the number of a weight that has one alone."""
    if not is_weight(value) or tensor_of(value).size != 1:
        return None
    return float(array_of(value).item())


def make_node(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    results: Sequence[str | None] = (None,),
    like: ir.Value | None = None,
    domain: str = "",
) -> ir.Node:
    """Return a node in no graph yet. `results` names its outputs, which have type and shape of `like`."""
    node = ir.node(op_type, inputs, attributes, domain=domain, name=name, num_outputs=len(results))
    for value, result in zip(node.outputs, results, strict=True):
        value.name = result
        if like is not None:
            value.type, value.shape = like.type, like.shape
    return node


class Writer:
    """Makes nodes named `<stem>_<operator>_<count>`, and collects them in `made`; none is in a graph yet.

    Their outputs have the type of `like`, and the names `<node>_out`, or `<node>_out<place>` if `numbered`.
    """

    def __init__(
        self, stem: str, like: ir.Value | None = None, *, start: int = 1, numbered: bool = False
    ) -> None:
        self.made: list[ir.Node] = []
        self._stem, self._like, self._count, self._numbered = stem, like, start, numbered

    def node(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        domain: str = "",
        outputs: int = 1,
        **attributes: Any,
    ) -> ir.Node:
        """Make a node."""
        name = f"{self._stem}_{op_type.lower()}_{self._count}"
        results = [f"{name}_out{place if self._numbered else ''}" for place in range(outputs)]
        made = make_node(op_type, inputs, attributes, name=name, results=results, domain=domain)
        if self._like is not None:
            made.outputs[0].type = self._like.type
        self._count += 1
        self.made.append(made)
        return made

    def op(self, op_type: str, *inputs: ir.Value | None, domain: str = "", **attributes: Any) -> ir.Value:
        """Make a node of one output; returns that."""
        return self.node(op_type, *inputs, domain=domain, **attributes).outputs[0]


def replace(
    graph: ir.Graph, old: ir.Node, *made: ir.Node, also: Sequence[ir.Node] = (), named: bool = True
) -> None:
    """Put nodes in the place of `old`, and of those `also` whose results only it or each other read.

    The first output of the last one takes over from that of `old`: see `take_over`.
    """
    take_over(old.outputs[0], made[-1].outputs[0], named=named)
    graph.insert_after(old, made)
    graph.remove([old, *also], safe=True)


def take_over(old: ir.Value, new: ir.Value, *, named: bool = True) -> None:
    """Let all that reads `old` read `new`, and the graph give it out where it gives `old`.

    `new` takes the type and shape of `old` where they are known, and its name if `named` or given out.
    """
    new.type, new.shape = old.type or new.type, old.shape if old.shape is not None else new.shape
    if named or old.is_graph_output():
        old.name, new.name = f"{old.name}_before", old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def give_out(graph: ir.Graph, old: ir.Value, new: ir.Value, aside: str = "before") -> None:
    """Let a graph give out `new` where it gives `old`, if it does, under that one's name.

    What reads `old` inside still does; its name is then `<name>_<aside>`.
    """
    places = [place for place, output in enumerate(graph.outputs) if output is old]
    if places:
        old.name, new.name = f"{old.name}_{aside}", old.name
    for place in places:
        graph.outputs[place] = new


def add_weight(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    """Register a tensor; returns its value."""
    shape, dtype = ir.Shape(tensor.shape), ir.TensorType(tensor.dtype)
    made = ir.Value(name=name, shape=shape, type=dtype, const_value=tensor)
    graph.register_initializer(made)
    return made


def constant(graph: ir.Graph, name: str, array: AnyArray) -> ir.Value:
    """Register an array, under a name made unique; returns its value."""
    fresh, count = name, 0
    while fresh in graph.initializers:
        count += 1
        fresh = f"{name}_{count}"
    return add_weight(graph, fresh, ir.tensor(np.asarray(array, order="C")))


def computed(
    graph: ir.Graph,
    name: str,
    dtype: ir.DataType | None,
    shape: Sequence[int],
    compute: Callable[[], AnyArray],
) -> ir.Value:
    """Register an array that is computed when it is written; the one of that name if there is one.

    `dtype` is float32 where it is None.
    """
    if name in graph.initializers:
        return graph.initializers[name]
    tensor = ir.LazyTensor(
        lambda: ir.Tensor(np.asarray(compute(), order="C"), name=name),
        dtype=dtype or ir.DataType.FLOAT,
        shape=ir.Shape(shape),
        name=name,
    )
    return add_weight(graph, name, tensor)
