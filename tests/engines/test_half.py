from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from seas_engines.graphs.rewrite import Form, rewrite
from seas_engines.precision.half import candidates, emulate_half, infer_types, to_half
from tests.engines.graphs import latents, network, run


def prepared() -> ir.Model:
    model = network()
    rewrite(model, 20, Form.PIECES, Form.PIECES)
    infer_types(model)
    return model


def dtypes(model: ir.Model) -> dict[str, str]:
    return {str(node.name): str(node.outputs[0].dtype) for node in model.graph}


def test_half_is_used_from_the_first_product_to_the_last() -> None:
    model = prepared()
    names = {str(node.name) for node in candidates(model)}
    assert {"first", "norm", "q", "product", "last"} <= names
    assert not {"scaled", "bright", "clipped", "rounded", "bytes", "image", "shape"} & names


def test_a_half_graph_is_what_it_says(tmp_path: Path) -> None:
    expected = run(prepared(), latents(), tmp_path / "full")
    model = prepared()
    to_half(model)
    found = dtypes(model)
    assert found["first"] == found["norm"] == found["last"] == "FLOAT16"
    assert found["scaled"] == found["bright"] == "FLOAT"
    halves = [value for value in model.graph.initializers.values() if value.dtype is ir.DataType.FLOAT16]
    assert {"w1_half", "wq_half", "w2_half"} <= {value.name for value in halves}
    assert "w1" not in model.graph.initializers  # its float32 form is read by nothing
    assert [value.dtype for value in model.graph.inputs] == [ir.DataType.FLOAT]
    assert {value.name: value.dtype for value in model.graph.outputs} == {
        "image": ir.DataType.UINT8,
        "middle": ir.DataType.FLOAT,
    }
    made = run(model, latents(), tmp_path / "half")
    np.testing.assert_allclose(made["middle"], expected["middle"], atol=5e-3)
    assert np.abs(made["image"].astype(int) - expected["image"]).max() <= 2


def test_chosen_nodes_stay_in_float32(tmp_path: Path) -> None:
    model = prepared()
    to_half(model, keep={"large", "larger"})
    found = dtypes(model)
    assert found["large"] == found["larger"] == "FLOAT"
    assert found["grouped"] == found["small"] == "FLOAT16"
    assert "up" in model.graph.initializers
    assert "up_half" not in model.graph.initializers
    made = run(model, latents(), tmp_path)
    assert np.isfinite(made["middle"]).all()


def test_inputs_and_outputs_become_half_where_asked(tmp_path: Path) -> None:
    model = prepared()
    to_half(model, half_values={"middle", "latents"})
    types = {str(value.name): value.dtype for value in (*model.graph.inputs, *model.graph.outputs)}
    assert types["middle"] is types["latents"] is ir.DataType.FLOAT16
    feeds = {"latents": latents()["latents"].astype(np.float16)}
    assert run(model, feeds, tmp_path)["middle"].dtype == np.float16


def test_emulation_rounds_as_half_does(tmp_path: Path) -> None:
    exact = run(prepared(), latents(), tmp_path / "exact")["middle"]
    model = prepared()
    emulate_half(model)
    rounded = run(model, latents(), tmp_path / "rounded")["middle"]
    assert rounded.dtype == np.float32
    assert np.array_equal(rounded, rounded.astype(np.float16).astype(np.float32))
    assert 1e-5 < np.abs(rounded - exact).max() < 5e-3
    kept = prepared()
    emulate_half(kept, keep={str(node.name) for node in candidates(kept)})
    np.testing.assert_array_equal(run(kept, latents(), tmp_path / "kept")["middle"], exact)


def test_emulation_overflows_as_half_does(tmp_path: Path) -> None:
    model = network(gain=1e6)
    rewrite(model, 20, Form.PIECES, Form.PIECES)
    infer_types(model)
    emulate_half(model)
    assert not np.isfinite(run(model, latents(), tmp_path)["middle"]).all()


def test_what_reads_a_half_input_may_be_half() -> None:
    model = prepared()
    assert "scaled" not in {node.name for node in candidates(model)}
    assert "scaled" in {node.name for node in candidates(model, {"latents"})}


ENDS = ("scaled", "first", "product")


@pytest.mark.parametrize("keep", [(), ENDS], ids=["half throughout", "float32 at both ends"])
def test_emulation_rounds_half_inputs_and_outputs_too(keep: tuple[str, ...], tmp_path: Path) -> None:
    between = {"latents", "middle"}
    exact = run(prepared(), latents(), tmp_path / "exact")["middle"]
    half, emulated = prepared(), prepared()
    to_half(half, keep, half_values=between)
    emulate_half(emulated, keep, half_values=between)
    feeds = {"latents": latents()["latents"].astype(np.float16)}
    made = run(half, feeds, tmp_path / "half")["middle"].astype(np.float32)
    rounded = run(emulated, latents(), tmp_path / "emulated")["middle"]
    assert np.array_equal(rounded, rounded.astype(np.float16).astype(np.float32))
    assert np.abs(made - rounded).max() < 2e-3 * np.ptp(exact)
    assert 1e-5 < np.abs(rounded - exact).max() < 5e-3
    large = {"latents": latents()["latents"] * np.float32(1e6)}  # float32 nodes get what half has lost
    assert not np.isfinite(run(emulated, large, tmp_path / "large")["middle"]).all()


def test_a_float32_node_that_gives_a_half_output_is_read_unrounded_inside(tmp_path: Path) -> None:
    """As `to_half` has it: only what leaves the graph is half."""
    gains, features = np.full((1, 1), 1e-6, np.float32), np.full((1, 1), 3.0, np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["large"], name="up"),
        helper.make_node("MatMul", ["large", "down"], ["small"], name="down"),
        helper.make_node("Relu", ["large"], ["tap"], name="tap"),
        helper.make_node("Add", ["tap", "tap"], ["more"], name="more"),
        helper.make_node("MatMul", ["more", "down"], ["other"], name="other"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "small")]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("small", "tap", "other")
    ]
    weights = [numpy_helper.from_array(1 / gains, "up"), numpy_helper.from_array(gains, "down")]
    proto = helper.make_model(helper.make_graph(nodes, "g", values[:1], outputs, weights))
    keep = ("up", "down", "tap", "more", "other")
    for write in (to_half, emulate_half):
        model = ir.from_proto(proto)
        infer_types(model)
        write(model, keep, half_values={"tap"})
        made = run(model, {"x": features}, tmp_path / write.__name__)
        assert np.isinf(made["tap"]).all()
        np.testing.assert_allclose(made["small"], 3.0, rtol=1e-3)
        np.testing.assert_allclose(made["other"], 6.0, rtol=1e-3)


def test_a_table_of_weights_is_half_from_its_first_row_on() -> None:
    table, weight = np.ones((8, 4), np.float32), np.eye(4, dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="look up"),
        helper.make_node("MatMul", ["rows", "weight"], ["mixed"], name="mix"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [2])
    mixed = helper.make_tensor_value_info("mixed", TensorProto.FLOAT, [2, 4])
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "weight")]
    model = ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", [ids], [mixed], weights)))
    infer_types(model)
    to_half(model)
    assert {value.dtype for value in model.graph.initializers.values()} == {ir.DataType.FLOAT16}
