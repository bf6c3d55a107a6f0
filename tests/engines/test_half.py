from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from seas_engines.half import candidates, emulate_half, infer_types, to_half
from seas_engines.rewrite import Form, rewrite
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
