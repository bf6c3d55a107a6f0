from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from seas_engines.graphs.surgery import (
    Writer,
    computed,
    constant,
    give_out,
    make_node,
    producer,
    replace,
    take_over,
    untransposed,
)

FLOAT = ir.TensorType(ir.DataType.FLOAT)


def chain() -> ir.Model:
    """Return x [2,3] -> Relu -> inner -> Neg -> outer, both of which the graph gives out."""
    value = ir.Value(name="x", type=FLOAT, shape=ir.Shape([2, 3]))
    relu = make_node("Relu", [value], name="relu", results=["inner"], like=value)
    neg = make_node("Neg", relu.outputs, name="neg", results=["outer"], like=value)
    outputs = [relu.outputs[0], neg.outputs[0]]
    graph = ir.Graph([value], outputs, nodes=[relu, neg], name="g", opset_imports={"": 20})
    return ir.Model(graph, ir_version=10)


def names(model: ir.Model) -> list[str | None]:
    return [value.name for value in model.graph.outputs]


def test_a_node_in_anothers_place_takes_its_name_type_shape_readers_and_output() -> None:
    model = chain()
    relu, neg = model.graph
    value = model.graph.inputs[0]
    write = Writer("new", like=value)
    write.op("Abs", write.op("Neg", value))
    replace(model.graph, relu, *write.made)
    assert [node.name for node in model.graph] == ["new_neg_1", "new_abs_2", "neg"]
    result = write.made[-1].outputs[0]
    assert neg.inputs[0] is result is model.graph.outputs[0]
    assert names(model) == ["inner", "outer"]
    assert (result.dtype, result.shape) == (ir.DataType.FLOAT, (2, 3))


def test_without_the_name_only_an_output_is_renamed() -> None:
    model = chain()
    relu, neg = model.graph
    made = make_node("Abs", [model.graph.inputs[0]], name="abs", results=["own"], like=relu.outputs[0])
    model.graph.insert_before(relu, made)
    model.graph.outputs.pop(0)
    take_over(relu.outputs[0], made.outputs[0], named=False)
    assert neg.inputs[0] is made.outputs[0]
    assert made.outputs[0].name == "own"
    take_over(neg.outputs[0], made.outputs[0], named=False)
    assert names(model) == ["outer"]
    assert model.graph.outputs[0] is made.outputs[0]


def test_what_is_given_out_instead_is_not_read_inside() -> None:
    model = chain()
    relu, neg = model.graph
    cast = make_node("Cast", relu.outputs, {"to": 10}, name="cast", results=["cast_out"])
    model.graph.append(cast)
    give_out(model.graph, relu.outputs[0], cast.outputs[0], "uncast")
    assert names(model) == ["inner", "outer"]
    assert model.graph.outputs[0] is cast.outputs[0]
    assert relu.outputs[0].name == "inner_uncast"
    assert neg.inputs[0] is relu.outputs[0]
    give_out(model.graph, model.graph.inputs[0], cast.outputs[0])  # no output: nothing to do
    assert model.graph.inputs[0].name == "x"


def test_producers_are_followed_through_first_inputs() -> None:
    value = ir.Value(name="x")
    cast = make_node("Cast", [value], {"to": 1})
    turned = make_node("Transpose", cast.outputs, {"perm": [1, 0]})
    assert producer(turned.outputs[0], "Transpose", "Cast") is cast
    assert producer(turned.outputs[0], "Transpose", "Relu") is None
    assert producer(value, "Cast") is producer(None, "Cast") is None
    assert untransposed(turned.outputs[0], [1, 0]) is cast.outputs[0]
    assert untransposed(turned.outputs[0], [0, 1]) is None


def test_weights_have_names_of_their_own_or_are_shared_by_name(tmp_path: Path) -> None:
    model = chain()
    graph = model.graph
    assert [constant(graph, "c", np.array(n)).name for n in (1, 2)] == ["c", "c_1"]

    def never() -> np.ndarray:
        pytest.fail("computed before it is written, or twice")

    calls: list[int] = []

    def once() -> np.ndarray:
        calls.append(1)
        return np.arange(6, dtype=np.float32).reshape(2, 3).T

    lazy = computed(graph, "w", ir.DataType.FLOAT, (3, 2), once)
    assert computed(graph, "w", ir.DataType.FLOAT, (3, 2), never) is lazy
    assert calls == []
    ir.save(model, tmp_path / "model.onnx")
    saved = ir.load(tmp_path / "model.onnx").graph.initializers["w"].const_value
    assert saved is not None
    np.testing.assert_array_equal(saved.numpy(), [[0, 3], [1, 4], [2, 5]])
