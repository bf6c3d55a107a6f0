"""Sizes by the manifest's names of dimensions: a table with a context for each step is no batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from seas_runtime.backends.contract import Backend, open_backend
from seas_runtime.bundle.reading import Bundle, hash_files, write_manifest
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GraphSpec, TensorSpec, known_sizes
from tests.runtime.bundles import kept_engines
from tests.runtime.fake_gpu import build_engines, fake_backend

GRAPH = "per_step"
INPUTS = {"context": ("steps", 3, 2), "latents": ("batch", 2)}  # the table first, by a name that had a batch
OUTPUTS = {"next_latents": ("batch", 2), "contexts": ("steps", 2)}


def specs(shapes: dict[str, tuple[int | str, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())


@pytest.fixture
def bundle(own_bundle: Path) -> Path:
    """A bundle with one more graph: next_latents = latents + the sum over all steps of contexts."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (INPUTS | OUTPUTS).items()
    }
    nodes = [
        helper.make_node("ReduceSum", ["context", "words"], ["contexts"], keepdims=0),
        helper.make_node("ReduceSum", ["contexts", "rows"], ["all"], keepdims=1),
        helper.make_node("Add", ["latents", "all"], ["next_latents"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [axis]) for name, axis in (("words", 1), ("rows", 0))
    ]
    graph = helper.make_graph(
        nodes, GRAPH, [values[name] for name in INPUTS], [values[name] for name in OUTPUTS], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    manifest = Bundle.read(own_bundle).manifest
    onnx.save(model, own_bundle / f"graphs/{GRAPH}.onnx")
    listed = {**manifest.graphs, GRAPH: GraphSpec(f"graphs/{GRAPH}.onnx", specs(INPUTS), specs(OUTPUTS))}
    write_manifest(own_bundle, replace(manifest, graphs=listed, files=hash_files(own_bundle)))
    return own_bundle


def run(backend: Backend, bundle: Path, pairs: int, steps: int) -> None:
    """Run the graph and compare with numpy."""
    rng = np.random.default_rng(pairs)
    given = {"context": rng.normal(size=(steps, 3, 2)), "latents": rng.normal(size=(pairs, 2))}
    arrays = {name: array.astype(np.float32) for name, array in given.items()}
    places = {name: backend.allocate(array.shape, "float32") for name, array in arrays.items()}
    for name, array in arrays.items():
        backend.write(places[name], array)
    result = backend.allocate((pairs, 2), "float32")
    session = backend.load(Bundle.read(bundle), GRAPH)
    backend.sequence([session.bind(places, {"next_latents": result})])(lambda: None)
    (made,) = backend.read([result])
    np.testing.assert_allclose(made, arrays["latents"] + arrays["context"].sum((0, 1)), rtol=1e-5, atol=1e-5)
    backend.settle()


def test_openvino_compiles_for_the_batch_alone(bundle: Path) -> None:
    pytest.importorskip("openvino")
    backend = open_backend("openvino:fp32", threads=1)
    for pairs, steps in ((4, 7), (4, 5), (2, 7)):
        run(backend, bundle, pairs, steps)
    kept = [(item.batch.minimum, item.batch.maximum) for item in kept_engines(bundle)]
    assert sorted(kept) == [(2, 2), (4, 4)]  # another number of steps is no other engine


def test_tensorrt_takes_the_engine_of_the_batch_and_spare_outputs_of_their_own_sizes(bundle: Path) -> None:
    build_engines(bundle, "rtx", "4", [GRAPH])
    backend = fake_backend("rtx")
    for steps in (7, 900):
        run(backend, bundle, 4, steps)
    assert backend.trt.loaded == 1


def test_a_dynamic_size_of_another_name_has_no_size() -> None:
    (spec,) = specs({"tap": ("batch", "height", 8)})
    assert spec.sized(batch=4, steps=25) == (4, "height", 8)
    with pytest.raises(UserError, match=r"no dynamic sizes but 'batch' and 'steps' .* \[4, 'height', 8\]"):
        known_sizes(spec.sized(batch=4))


def test_sizes_that_disagree_are_refused() -> None:
    graph = GraphSpec("graph.onnx", specs({"latents": ("batch", 4), "context": ("batch", "words", 3)}), ())
    assert graph.sizes({"latents": (2, 4), "context": (2, 5, 3)}) == {"batch": 2, "words": 5}
    with pytest.raises(ValueError, match="'context': expected 2 for 'batch', found 3"):
        graph.sizes({"latents": (2, 4), "context": (3, 5, 3)})
