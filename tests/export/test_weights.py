from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from seas_export.export import ExportResult
from seas_export.graphs.weights import INLINE_BYTES, WEIGHTS_FILE, WeightStore, save_graphs
from seas_runtime.methods.seas import GRAPHS
from seas_train import Checkpoint


def adding(**tensors: np.ndarray) -> ir.Model:
    """A model that adds its weights to its input."""
    value = ir.Value(name="x", shape=ir.Shape([None]), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 20}, name="g")
    for name, array in tensors.items():
        weight = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        graph.register_initializer(weight)
        node = ir.Node("", "Add", [value, weight])
        graph.append(node)
        value = node.outputs[0]
    value.name, value.type, value.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([None])
    graph.outputs.append(value)
    return ir.Model(graph, ir_version=10)


def save(models: dict[str, ir.Model], folder: Path) -> None:
    """Move one model after the other, as export does, then save them."""
    with WeightStore(folder) as store:
        for model in models.values():
            store.move([model])
    save_graphs(models, folder)


def places(file: Path) -> dict[str, tuple[int, int]]:
    """Offset and length of every external tensor of a graph file."""
    made = {}
    for tensor in onnx.load(file, load_external_data=False).graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            assert entries["location"] == WEIGHTS_FILE
            made[tensor.name] = (int(entries["offset"]), int(entries["length"]))
        else:
            assert len(tensor.SerializeToString()) <= INLINE_BYTES + 200
    return made


def test_equal_weights_are_stored_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    big, other = (random.standard_normal(1000).astype(np.float32) for _ in range(2))
    small = np.ones(1, np.float32)
    save({"a": adding(w=big, v=other, s=small), "b": adding(u=big.copy()), "c": adding(t=other)}, tmp_path)
    a, b, c = (places(tmp_path / f"{name}.onnx") for name in "abc")
    assert a["w"] == b["u"] != a["v"] == c["t"]
    assert set(a) == {"w", "v"}
    assert (tmp_path / WEIGHTS_FILE).stat().st_size < 2 * 4000 + 64
    x = np.arange(1000, dtype=np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    assert np.allclose(session.run(None, {"x": x})[0], x + big + other + 1)


@pytest.mark.parametrize(("size", "alignment"), [(300, 64), (300_000, 4096)])
def test_weights_are_aligned(tmp_path: Path, size: int, alignment: int) -> None:
    arrays = {f"w{i}": np.full(size + i, i, np.float32) for i in range(3)}
    save({name: adding(w=array) for name, array in arrays.items()}, tmp_path)
    offsets = [places(tmp_path / f"{name}.onnx")["w"][0] for name in arrays]
    assert len(set(offsets)) == 3
    assert all(offset % alignment == 0 for offset in offsets)


def test_moving_twice_stores_once_and_frees_the_first(tmp_path: Path) -> None:
    """A composed graph shares its part's moved tensors; the arrays themselves are let go."""
    array = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    part = adding(w=array)
    freed = weakref.ref(next(iter(part.graph.initializers.values())).const_value)
    with WeightStore(tmp_path) as store:
        store.move([part])
        assert freed() is None
        composed = adding(w=np.zeros(1, np.float32))
        shared = next(iter(part.graph.initializers.values())).const_value
        next(iter(composed.graph.initializers.values())).const_value = shared
        store.move([composed])
    save_graphs({"part": part, "composed": composed}, tmp_path)
    assert places(tmp_path / "part.onnx") == places(tmp_path / "composed.onnx")
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == 4000


def test_equal_bytes_of_another_shape_keep_their_shape(tmp_path: Path) -> None:
    array = np.arange(1000, dtype=np.float32)
    graphs = {"a": adding(w=array), "b": adding(w=array.reshape(1, 1000))}
    save(graphs, tmp_path)
    assert list(onnx.load(tmp_path / "b.onnx").graph.initializer[0].dims) == [1, 1000]


def test_bundle_stores_each_weight_once(exported: ExportResult, checkpoint: Checkpoint) -> None:
    """Eight graphs share one file, hardly larger than the model's own weights."""
    graphs = exported.bundle / "graphs"
    models = (checkpoint.unet, checkpoint.vae, checkpoint.text_encoder, checkpoint.artifacts["mask_head"])
    weights = sum(parameter.nbytes for model in models for parameter in model.parameters())
    assert (graphs / WEIGHTS_FILE).stat().st_size < 1.1 * weights
    parts = {
        place
        for name in ("unet", "vae_decoder", "mask_head")
        for place in places(graphs / f"{name}.onnx").values()
    }
    for name in GRAPHS:
        composed = set(places(graphs / f"{name}.onnx").values())
        assert composed
        assert composed <= parts
