"""TensorRT and TensorRT-RTX: engines from the bundle's own store, on one GPU. Both libraries have one API."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seas_runtime.backends.contract import Backend, Call, DeviceMemoryError
from seas_runtime.backends.cuda.driver import Driver, open_driver
from seas_runtime.backends.cuda.memory import DeviceMemory, DeviceTensor
from seas_runtime.backends.tensorrt.library import load_tensorrt
from seas_runtime.engines.errors import EngineStoreUnwritable, EngineWrongBatch
from seas_runtime.engines.record import Engine
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.manifest.types import BATCH, Shape

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle

VARIANTS = ()
RUNTIME_CACHE = "runtime.cache"
"""What TensorRT-RTX compiled on this device, kept beside the engine."""
_MEMORY_WORDS = ("out of memory", "outofmemory", "memory allocation", "bad_alloc")
logger = logging.getLogger(__name__)


class Scratch:
    """Activation memory that all contexts share: they run one after another on one stream.

    A block that has become too small is kept: captured graphs know its address.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._block: DeviceTensor | None = None

    def reserve(self, size: int) -> DeviceTensor:
        """Return a block of at least `size` bytes; who uses it must hold it."""
        if self._block is None or self._block.size < size:
            self._block = DeviceTensor(self._driver, (max(size, 1),), "uint8")
        return self._block


class Context:
    """An execution context at fixed shapes, with the memory that it works in."""

    def __init__(self, loaded: LoadedEngine, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._loaded = loaded
        self._context = context = loaded.create_context()
        self._stream = loaded.backend.driver.stream
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
        self._block = loaded.backend.scratch.reserve(size)
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(self._block.address, self._block.size)
        else:  # TensorRT before 10.1
            context.device_memory = self._block.address

    def queue(self, addresses: Mapping[str, int]) -> None:
        """Queue one run on the tensors at `addresses`."""
        backend = self._loaded.backend
        for name, address in addresses.items():
            self._context.set_tensor_address(name, address)
        backend.log.clear()
        if not self._context.execute_async_v3(self._stream):
            raise backend.failure(f"{self._loaded.file}: the engine failed to run")


class LoadedEngine:
    """A deserialized engine and, for TensorRT-RTX, the kernels that were compiled for it here."""

    def __init__(self, backend: TensorRtBackend, store: EngineStore, engine: Engine) -> None:
        self.backend, self._store, self._record = backend, store, engine
        self.file = engine.file
        backend.log.clear()
        with engine.open() as content:
            self.engine = backend.runtime.deserialize_cuda_engine(content)
        if self.engine is None:
            raise backend.failure(
                f"{self.file}: {backend.title} {backend.version} cannot load the engine", engine
            )
        self._config: Any = None
        self._cache: Any = None
        self._saved: bytes | None = None
        self._fresh = False
        if hasattr(self.engine, "create_runtime_config"):
            self._prepare_runtime_cache()

    def create_context(self) -> Any:
        """Return an execution context that is given its memory later."""
        trt = self.backend.trt
        self.backend.log.clear()
        if self._config is not None:
            context = self.engine.create_execution_context(self._config)
        elif hasattr(trt, "ExecutionContextAllocationStrategy"):
            context = self.engine.create_execution_context(
                trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
        else:  # TensorRT before 10.0
            context = self.engine.create_execution_context_without_device_memory()
        if context is None:
            raise self.backend.failure(f"{self.file}: no execution context can be made")
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
        trt = self.backend.trt
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


class TensorRtSession:
    """A graph's engines: for each batch size the one that was built for it."""

    def __init__(self, backend: TensorRtBackend, bundle: Bundle, graph: str) -> None:
        self._backend, self._graph = backend, graph
        self._store = EngineStore(bundle.path, bundle.manifest)
        self._spec = bundle.manifest.graphs[graph]
        record = self._find(None).record
        self.inputs, self.outputs = record.inputs, record.outputs
        self._contexts: weakref.WeakValueDictionary[Any, Context] = weakref.WeakValueDictionary()

    def takes(self, batch: int) -> bool:
        """Whether there is an engine for this batch size."""
        try:
            self._find(batch)
        except EngineWrongBatch:
            return False
        return True

    def bind(self, feeds: Mapping[str, DeviceTensor], outputs: Mapping[str, DeviceTensor]) -> Call:
        """Return the call, which queues a run of the engine."""
        shapes = {spec.name: feeds[spec.name].shape for spec in self._spec.inputs}
        sizes = self._spec.sizes(shapes)
        key = tuple(shapes.items())
        context = self._contexts.get(key)
        if context is None:
            engine = self._find(sizes.get(BATCH))
            context = Context(self._backend.loaded(self._store, engine), shapes)
            self._contexts[key] = context
        # An engine writes every output: those that nobody wants, to memory that nobody reads.
        spare = {
            spec.name: self._backend.spare(spec.sized(**sizes), spec.dtype)
            for spec in self._spec.outputs
            if spec.name not in outputs
        }
        places = {**feeds, **outputs, **spare}  # held by the call, so that their memory stays
        addresses = {name: place.address for name, place in places.items()}

        def call(places: Mapping[str, DeviceTensor] = places) -> None:
            context.queue(addresses)

        return call

    def _find(self, batch: int | None) -> Engine:
        backend = self._backend
        return self._store.find(self._graph, backend.name, backend.version, backend.device_key, batch)


class TensorRtBackend(DeviceMemory):
    """Runs engines of TensorRT (`tensorrt`) or TensorRT-RTX (`rtx`)."""

    def __init__(self, name: str, trt: Any, driver: Driver) -> None:
        super().__init__(driver)
        self.name, self.trt = name, trt
        self.title = "TensorRT-RTX" if name == "rtx" else "TensorRT"
        self.version = str(trt.__version__)
        self.device_key = driver.device.engine_device(name)
        self.log = _make_log(trt)
        self.runtime = trt.Runtime(self.log)
        self.scratch = Scratch(driver)
        self._engines: dict[str, LoadedEngine] = {}
        self._spare: dict[tuple[Shape, str], DeviceTensor] = {}

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return version and device."""
        return {"version": f"{self.title} {self.version}", "device": self.driver.device.name}

    def load(self, bundle: Bundle, graph: str) -> TensorRtSession:
        """Find a graph's engine; its content is read and checked when a batch first needs it."""
        return TensorRtSession(self, bundle, graph)

    def loaded(self, store: EngineStore, engine: Engine) -> LoadedEngine:
        """Return an engine, deserialized once."""
        key = engine.identity.key
        if key not in self._engines:
            self._engines[key] = LoadedEngine(self, store, engine)
        return self._engines[key]

    def spare(self, shape: Shape, dtype: str) -> DeviceTensor:
        """Return memory that is written and never read; one for all of its size."""
        if (shape, dtype) not in self._spare:
            self._spare[shape, dtype] = self.allocate(shape, dtype)
        return self._spare[shape, dtype]

    def settle(self) -> None:
        """Keep what TensorRT-RTX has compiled."""
        for engine in self._engines.values():
            engine.settle()

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


def open_backend(kind: str, variant: str, threads: int | None) -> Backend[DeviceTensor]:
    """Return the backend; UserError where its library or a GPU is missing. No CPU threads are used."""
    return TensorRtBackend(kind, load_tensorrt(kind), open_driver())


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
