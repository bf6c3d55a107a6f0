"""A GPU in host memory: a driver that keeps what is queued until it is waited for, and a TensorRT on top.

An engine of this TensorRT is the path of an ONNX file; its runs are ONNX Runtime's, on the memory that they
are queued with. What no real device takes raises here: memory that was freed or never allocated, a copy from
memory that is not pinned, and whatever waits or allocates inside a capture.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from seas_runtime.backends.contract import DeviceMemoryError
from seas_runtime.backends.cuda.device import CudaDevice
from seas_runtime.backends.tensorrt.backend import TensorRtBackend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.record import BatchRange, EngineIdentity, EngineRecord
from seas_runtime.engines.store import EngineStore
from seas_runtime.methods.seas import GRAPHS

DEVICE = CudaDevice("Fake RTX", "8.6", False, 1 << 30)
VERSION = "1.7.1"
_NUMPY = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}
Work = Callable[[], None]


class FakeDriver:
    """The driver. `memory` is what it has; `launches`, `queued` and `waits` count what was done."""

    device = DEVICE
    stream = 7

    def __init__(self, memory: int = 1 << 30) -> None:
        self.memory = memory
        self.blocks: dict[int, np.ndarray] = {}
        self.hosts: dict[int, np.ndarray] = {}
        self.pending: list[Work] = []
        self.captured: list[Work] | None = None
        self.launches = self.queued = self.waits = self.captures = 0
        self.refuses_capture = False
        self.broken: Exception | None = None

    def free_memory(self) -> int:
        return self.memory - sum(block.nbytes for block in self.blocks.values())

    def allocate(self, size: int) -> int:
        assert self.captured is None, "allocates inside a capture"
        if size > self.free_memory():
            raise DeviceMemoryError(f"GPU: out of memory: {size} bytes")
        block = np.zeros(max(size, 1), np.uint8)
        self.blocks[block.ctypes.data] = block
        return int(block.ctypes.data)

    def release(self, address: int) -> None:
        if self.captured is None:
            self._work()  # as cudaFree does
        del self.blocks[address]

    def pinned(self, size: int) -> np.ndarray:
        host = np.zeros(max(size, 1), np.uint8)
        self.hosts[host.ctypes.data] = host
        return host[:size]

    def unpin(self, array: np.ndarray) -> None:
        del self.hosts[array.ctypes.data]

    def view(self, address: int, size: int) -> Any:
        """Return device memory, which must be allocated as far as `size`."""
        for start, block in self.blocks.items():
            if start <= address and address + size <= start + block.nbytes:
                return (ctypes.c_uint8 * size).from_address(address)
        raise AssertionError(f"{size} bytes at {address}: not allocated")

    def copy_in(self, address: int, array: np.ndarray) -> None:
        assert array.ctypes.data in self.hosts
        self.enqueue(
            lambda: ctypes.memmove(self.view(address, array.nbytes), array.ctypes.data, array.nbytes)
        )

    def copy_out(self, array: np.ndarray, address: int) -> None:
        assert array.ctypes.data in self.hosts
        self.enqueue(
            lambda: ctypes.memmove(array.ctypes.data, self.view(address, array.nbytes), array.nbytes)
        )

    def enqueue(self, work: Work) -> None:
        (self.pending if self.captured is None else self.captured).append(work)
        self.queued += 1

    def wait(self) -> None:
        assert self.captured is None, "waits inside a capture"
        self.waits += 1
        self._work()
        if self.broken is not None:
            raise self.broken

    def _work(self) -> None:
        work, self.pending = self.pending, []
        for item in work:
            item()

    def begin_capture(self) -> None:
        self.captured = []

    def end_capture(self) -> list[Work]:
        from seas_runtime.errors import CheckFailed

        captured, self.captured = self.captured, None
        if self.refuses_capture or captured is None:
            raise CheckFailed("GPU: cudaStreamEndCapture failed: cudaErrorStreamCaptureInvalidated")
        self.captures += 1
        return captured

    def launch(self, captured: list[Work]) -> None:
        self.launches += 1
        self.pending.extend(captured)

    def discard(self, captured: list[Work]) -> None:
        captured.clear()

    def mark(self) -> float:
        return float(self.queued)

    def seconds(self, begin: float, end: float) -> float:
        return (end - begin) / 1000


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory: tuple[int, int] | None = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> None:
        raise AssertionError("there is one profile")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def update_device_memory_size_for_shapes(self) -> int:
        return self._engine.trt.activations

    def set_device_memory(self, address: int, size: int) -> None:
        self._memory = (address, size)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        trt, driver = self._engine.trt, self._engine.trt.driver
        assert stream == driver.stream
        assert self._memory is not None
        driver.view(*self._memory)
        if trt.run_error:
            trt.logger.log(trt.ILogger.ERROR, trt.run_error)
            return False
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        driver.enqueue(lambda: self._run(shapes, addresses))
        return True

    def _run(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        session, driver = self._engine.session, self._engine.trt.driver
        feeds = {}
        for node in session.get_inputs():
            dtype = np.dtype(_NUMPY[node.type])
            size = int(np.prod(shapes[node.name])) * dtype.itemsize
            memory = driver.view(addresses[node.name], size)
            feeds[node.name] = np.frombuffer(memory, dtype).reshape(shapes[node.name]).copy()
        made = session.run(None, feeds)
        for node, array in zip(session.get_outputs(), made, strict=True):
            memory = driver.view(addresses[node.name], array.nbytes)
            ctypes.memmove(memory, np.ascontiguousarray(array).ctypes.data, array.nbytes)


class FakeCache:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt

    def deserialize(self, data: bytes) -> bool:
        self._trt.caches_read.append(bytes(data))
        return True

    def serialize(self) -> bytes:
        return b"kernels"


class FakeConfig:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt
        self.cuda_graph_strategy: Any = None
        self.dynamic_shapes_kernel_specialization_strategy: Any = None
        self.strategy: Any = None
        self.cache: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> FakeCache:
        return FakeCache(self._trt)

    def set_runtime_cache(self, cache: FakeCache) -> None:
        self.cache = cache


class FakeEngine:
    num_optimization_profiles = 1

    def __init__(self, trt: FakeTensorRt, content: dict[str, Any]) -> None:
        self.trt, self._batches = trt, content["batches"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content["onnx"], options)
        if trt.rtx:
            self.create_runtime_config = lambda: FakeConfig(trt)

    def create_execution_context(self, how: Any) -> FakeContext:
        if self.trt.rtx:
            assert how.cache is not None
            how = how.strategy
        assert how == self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return FakeContext(self)

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        node = next(node for node in self.session.get_inputs() if node.name == name)
        least, most = self._batches

        def at(batch: int, other: int) -> tuple[int, ...]:
            sizes = {"batch": batch}
            return tuple(size if isinstance(size, int) else sizes.get(size, other) for size in node.shape)

        return [at(least, 1), at(most, 25), at(most, 1000)]


class FakeTensorRt:
    """Stands for the module `tensorrt` or, with `rtx`, `tensorrt_rtx`."""

    __version__ = VERSION

    class ILogger:
        ERROR, INTERNAL_ERROR = "error", "internal"

        def __init__(self) -> None: ...

    class ExecutionContextAllocationStrategy(Enum):
        STATIC, USER_MANAGED = range(2)

    class DynamicShapesKernelSpecializationStrategy(Enum):
        LAZY, EAGER = range(2)

    class CudaGraphStrategy(Enum):
        DISABLED, WHOLE_GRAPH_CAPTURE = range(2)

    def __init__(self, driver: FakeDriver, rtx: bool) -> None:
        self.driver, self.rtx = driver, rtx
        self.activations = 1000
        self.load_error = self.run_error = ""
        self.caches_read: list[bytes] = []
        self.loaded = 0
        self.logger: Any = None

    def Runtime(self, logger: Any) -> Any:
        self.logger = logger

        def deserialize(content: memoryview) -> FakeEngine | None:
            self.loaded += 1
            if self.load_error:
                logger.log(self.ILogger.ERROR, self.load_error)
                return None
            return FakeEngine(self, json.loads(bytes(content)))

        return SimpleNamespace(deserialize_cuda_engine=deserialize)


def build_engines(
    bundle: Path,
    target: str,
    batch: str = "1:4:16",
    graphs: Iterable[str] = GRAPHS,
    device: CudaDevice = DEVICE,
    version: str = VERSION,
) -> EngineStore:
    """Put fake engines of a bundle's graphs into its store, as the builder puts real ones."""
    content = Bundle.read(bundle)
    store = EngineStore(bundle, content.manifest)
    sizes = BatchRange.parse(batch)
    for graph in graphs:
        spec = content.manifest.graphs[graph]
        record = EngineRecord(
            EngineIdentity(
                graph, store.content(graph), target, version, (device.engine_device(target),), "fp32", sizes
            ),
            spec.inputs,
            spec.outputs,
        )
        data = {"onnx": str(content.graph_path(graph)), "batches": [sizes.minimum, sizes.maximum]}
        with store.workspace() as folder:
            file = folder / "engine"
            file.write_text(json.dumps(data))
            store.add(record, file)
    return store


def fake_backend(target: str = "rtx", driver: FakeDriver | None = None) -> TensorRtBackend:
    """Return the backend on a fake GPU."""
    driver = driver or FakeDriver()
    return TensorRtBackend(target, FakeTensorRt(driver, target == "rtx"), driver)
