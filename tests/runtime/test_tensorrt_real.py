"""The real TensorRT-RTX library, as far as a machine without a GPU lets it be driven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seas_runtime.backends.cuda.device import find_cuda_device
from seas_runtime.backends.tensorrt.backend import TensorRtBackend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.record import BatchRange, EngineIdentity, EngineRecord
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from tests.runtime.fake_gpu import DEVICE, FakeDriver

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def trt() -> Any:
    from seas_runtime.backends.tensorrt.library import load_tensorrt

    return load_tensorrt("rtx")


@pytest.fixture(scope="module")
def engine(trt: Any) -> bytes:
    """A real engine: twice its input, for one compute capability."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network()
    given = network.add_input("latents", trt.float32, (-1, 4))
    doubled = network.add_elementwise(given, given, trt.ElementWiseOperation.SUM).get_output(0)
    doubled.name = "image"
    network.mark_output(doubled)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("latents", (1, 4), (2, 4), (8, 4))
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    return bytes(builder.build_serialized_network(network, config))


def test_what_the_backend_calls_is_there(trt: Any) -> None:
    """A fake cannot tell that a name has changed."""
    calls = {
        trt.Runtime: ("deserialize_cuda_engine",),
        trt.ICudaEngine: (
            "create_runtime_config",
            "create_execution_context",
            "num_optimization_profiles",
            "get_tensor_profile_shape",
        ),
        trt.IExecutionContext: (
            "set_optimization_profile_async",
            "set_input_shape",
            "update_device_memory_size_for_shapes",
            "set_device_memory",
            "set_tensor_address",
            "execute_async_v3",
        ),
        trt.IRuntimeConfig: (
            "set_execution_context_allocation_strategy",
            "dynamic_shapes_kernel_specialization_strategy",
            "cuda_graph_strategy",
            "create_runtime_cache",
            "set_runtime_cache",
        ),
        trt.IRuntimeCache: ("deserialize", "serialize"),
        trt.ExecutionContextAllocationStrategy: ("USER_MANAGED",),
        trt.DynamicShapesKernelSpecializationStrategy: ("EAGER",),
        trt.CudaGraphStrategy: ("DISABLED",),
        trt.ILogger: ("ERROR", "INTERNAL_ERROR"),
    }
    assert [
        (owner, name) for owner, names in calls.items() for name in names if not hasattr(owner, name)
    ] == []


def put(bundle: Path, content: bytes, backend: TensorRtBackend) -> Bundle:
    """Put `content` into a bundle's store as its engine of `decode_image`."""
    read = Bundle.read(bundle)
    store = EngineStore(bundle, read.manifest)
    spec = read.manifest.graphs["decode_image"]
    identity = EngineIdentity(
        "decode_image",
        store.content("decode_image"),
        "rtx",
        backend.library.version,
        (DEVICE.compute_capability,),
        "fp32",
        BatchRange(1, 2, 8),
    )
    with store.workspace() as folder:
        (folder / "engine").write_bytes(content)
        store.add(EngineRecord(identity, spec.inputs, spec.outputs), folder / "engine")
    return read


@pytest.mark.skipif(find_cuda_device() is not None, reason="needs a machine without a GPU")
@pytest.mark.parametrize(
    ("spoil", "reason"), [("nothing", "CUDA"), ("truncated", "Serialization"), ("foreign", "")]
)
def test_what_the_library_refuses_is_its_own_error(
    own_bundle: Path, trt: Any, engine: bytes, spoil: str, reason: str
) -> None:
    """Recorded as it is, so that the store lets it through: the library itself must be believed."""
    content = {"nothing": engine, "truncated": engine[:500], "foreign": b"not an engine" * 100}[spoil]
    backend = TensorRtBackend("rtx", trt, FakeDriver())
    session = backend.load(put(own_bundle, content, backend), "decode_image")
    latents, image = backend.allocate((1, 4, 6, 6), "float32"), backend.allocate((1, 4), "float32")
    with pytest.raises(UserError, match=rf"engine\.bin: TensorRT-RTX .* cannot load the engine: .*{reason}"):
        session.bind({"latents": latents}, {"image": image})
