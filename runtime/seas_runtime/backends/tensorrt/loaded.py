"""Engines of TensorRT and TensorRT-RTX in a GPU's memory, and the contexts that run them at fixed shapes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from seas_runtime.backends.contract import DeviceMemoryError
from seas_runtime.backends.cuda.driver import CudaDriver
from seas_runtime.backends.cuda.memory import DeviceTensor
from seas_runtime.engines.engine import Engine
from seas_runtime.engines.errors import EngineStoreUnwritable
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import CheckFailed, UserError

RUNTIME_CACHE = "runtime.cache"
"""What TensorRT-RTX compiled on this device, kept beside the engine."""
_MEMORY_WORDS = ("out of memory", "outofmemory", "memory allocation", "bad_alloc")
logger = logging.getLogger(__name__)


class Scratch:
    """Activation memory that all contexts share: they run one after another on one stream.

    A block that has become too small is kept: captured graphs know its address.
    """

    def __init__(self, driver: CudaDriver) -> None:
        self._driver = driver
        self._block: DeviceTensor | None = None

    def reserve(self, size: int) -> DeviceTensor:
        """Return a block of at least `size` bytes; who uses it must hold it."""
        if self._block is None or self._block.size < size:
            self._block = DeviceTensor(self._driver, (max(size, 1),), "uint8")
        return self._block


class Library:
    """TensorRT (`tensorrt`) or TensorRT-RTX (`rtx`) on one GPU, with the scratch memory of its contexts."""

    def __init__(self, name: str, trt: Any, driver: CudaDriver) -> None:
        self.name, self.trt, self.driver = name, trt, driver
        self.title = "TensorRT-RTX" if name == "rtx" else "TensorRT"
        self.version = str(trt.__version__)
        self.log = _make_log(trt)
        self.runtime = trt.Runtime(self.log)
        self.scratch = Scratch(driver)

    def failure(self, what: str, engine: Engine | None = None) -> Exception:
        """Return the error for what the library refused, with the reason that it logged."""
        reason = self.log.reason()
        if any(word in reason.lower() for word in _MEMORY_WORDS):
            return DeviceMemoryError(
                f"{what}: out of memory: {reason}; use a smaller --batch, or free memory on the GPU"
            )
        if engine is None:
            return CheckFailed(f"{what}: {reason}")
        command = f"seas-export engine BUNDLE --target {self.name} --force"
        return UserError(f"{what}: {reason}; build it again on this machine: {command}")


class Context:
    """An execution context at fixed shapes, with the memory that it works in."""

    def __init__(self, loaded: LoadedEngine, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._loaded = loaded
        self._context = context = loaded.create_context()
        self._stream = loaded.library.driver.stream
        profile = loaded.profile(shapes)
        if profile:
            context.set_optimization_profile_async(profile, self._stream)
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise UserError(
                    f"{loaded.file}: input {name!r}: the engine does not take {list(shape)}; "
                    "build it for that size, or choose another --batch or --steps"
                )
        size = _context_memory(context, loaded.engine)
        self._block = loaded.library.scratch.reserve(size)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._block.address, self._block.size)
        else:  # TensorRT before 10.1
            context.device_memory = self._block.address

    def queue(self, addresses: Mapping[str, int]) -> None:
        """Queue one run on the tensors at `addresses`."""
        library = self._loaded.library
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        library.log.clear()
        if not self._context.execute_async_v3(self._stream):
            raise library.failure(f"{self._loaded.file}: the engine failed to run")


class LoadedEngine:
    """A deserialized engine and, for TensorRT-RTX, the kernels that were compiled for it here."""

    def __init__(self, library: Library, store: EngineStore, engine: Engine) -> None:
        self.library, self._store, self._record = library, store, engine
        self.file = engine.file
        library.log.clear()
        with engine.open() as content:
            self.engine = library.runtime.deserialize_cuda_engine(content)
        if self.engine is None:
            raise library.failure(
                f"{self.file}: {library.title} {library.version} cannot load the engine", engine
            )
        self._config: Any = None
        self._cache: Any = None
        self._saved: bytes | None = None
        self._fresh = False
        if hasattr(self.engine, "create_runtime_config"):
            self._prepare_runtime_cache()

    def create_context(self) -> Any:
        """Return an execution context that is given its memory later."""
        trt = self.library.trt
        self.library.log.clear()
        if self._config is not None:
            context = self.engine.create_execution_context(self._config)
        elif hasattr(trt, "ExecutionContextAllocationStrategy"):
            context = self.engine.create_execution_context(
                trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
        else:  # TensorRT before 10.0
            context = self.engine.create_execution_context_without_device_memory()
        if context is None:
            raise self.library.failure(f"{self.file}: no execution context can be made")
        self._fresh = True
        return context

    def profile(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return the optimization profile that holds all shapes; UserError where none does."""
        for index in range(self.engine.num_optimization_profiles):
            ranges = {name: self.engine.get_tensor_profile_shape(name, index) for name in shapes}
            if all(_holds(ranges[name], shape) for name, shape in shapes.items()):
                return index
        words = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise UserError(
            f"{self.file}: no optimization profile of the engine holds {words}; "
            "build it for that size, or choose another --batch or --steps"
        )

    def settle(self) -> None:
        """Keep what was compiled since the last time, so that the next start need not."""
        if not self._fresh or self._cache is None:
            return
        self._fresh = False
        data = bytes(self._cache.serialize())
        if data == self._saved:
            return
        try:
            self._record = self._store.save_companion(self._record, RUNTIME_CACHE, data)
            self._saved = data
        except EngineStoreUnwritable as error:
            logger.warning("compiled kernels are not kept: %s", error)

    def _prepare_runtime_cache(self) -> None:
        """Make contexts use the kernels of earlier runs, and compile others before they are first used.

        Compiling them meanwhile, the library's default, would run other kernels at first and so round
        otherwise: the same request would not give the same pair.
        """
        trt = self.library.trt
        self._config = config = self.engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        config.cuda_graph_strategy = trt.CudaGraphStrategy.DISABLED  # the whole sequence is captured instead
        self._cache = config.create_runtime_cache()
        saved = self._store.read_companion(self._record, RUNTIME_CACHE)
        if saved is not None and self._cache.deserialize(saved):
            self._saved = saved
        config.set_runtime_cache(self._cache)


def _make_log(trt: Any) -> Any:
    """Return a logger that keeps the library's errors for ours, and passes nothing to the terminal."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self._errors.append(message)
            logger.debug("%s", message)

        def clear(self) -> None:
            self._errors.clear()

        def reason(self) -> str:
            return self._errors[0].splitlines()[0][:300] if self._errors else "the library does not say why"

    return Log()


def _holds(ranges: Any, shape: tuple[int, ...]) -> bool:
    """Whether a shape lies in a profile's minimum and maximum."""
    low, _, high = (tuple(entry) for entry in ranges)
    return len(low) == len(shape) and all(
        least <= size <= most for least, size, most in zip(low, shape, high, strict=True)
    )


def _context_memory(context: Any, engine: Any) -> int:
    """Return the bytes of activations that a context at its shapes needs."""
    if hasattr(context, "update_device_memory_size_for_shapes"):
        return int(context.update_device_memory_size_for_shapes())
    for name in ("device_memory_size_v2", "device_memory_size"):
        if hasattr(engine, name):
            return int(getattr(engine, name))
    return 0
