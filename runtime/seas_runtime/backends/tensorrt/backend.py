"""TensorRT and TensorRT-RTX: engines from the bundle's own store, on one GPU. Both libraries have one API."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seas_runtime.backends.contract import Backend, Call
from seas_runtime.backends.cuda.driver import CudaDriver, open_driver
from seas_runtime.backends.cuda.memory import DeviceMemory, DeviceTensor
from seas_runtime.backends.tensorrt.library import load_tensorrt
from seas_runtime.backends.tensorrt.loaded import Context, Library, LoadedEngine
from seas_runtime.engines.engine import Engine
from seas_runtime.engines.errors import EngineWrongBatch
from seas_runtime.engines.store import EngineStore
from seas_runtime.manifest.types import BATCH, Shape

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle

VARIANTS = ()


class TensorRtSession:
    """A graph's engines: for each batch size the one that was built for it."""

    def __init__(self, backend: TensorRtBackend, bundle: Bundle, graph: str) -> None:
        self._backend, self._graph = backend, graph
        self._store = EngineStore.of(bundle)
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
        return self._store.find(self._graph, backend.name, backend.library.version, backend.device_key, batch)


class TensorRtBackend(DeviceMemory):
    """Runs engines of TensorRT (`tensorrt`) or TensorRT-RTX (`rtx`)."""

    def __init__(self, name: str, trt: Any, driver: CudaDriver) -> None:
        super().__init__(driver)
        self.name, self.trt = name, trt
        self.library = Library(name, trt, driver)
        self.device_key = driver.device.engine_device(name)
        self._engines: dict[str, LoadedEngine] = {}
        self._spare: dict[tuple[Shape, str], DeviceTensor] = {}

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return version and device."""
        return {"version": f"{self.library.title} {self.library.version}", "device": self.driver.device.name}

    def load(self, bundle: Bundle, graph: str) -> TensorRtSession:
        """Find a graph's engine; its content is read and checked when a batch first needs it."""
        return TensorRtSession(self, bundle, graph)

    def loaded(self, store: EngineStore, engine: Engine) -> LoadedEngine:
        """Return an engine, deserialized once."""
        key = engine.identity.key
        if key not in self._engines:
            self._engines[key] = LoadedEngine(self.library, store, engine)
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


def open_backend(kind: str, variant: str, threads: int | None) -> Backend[DeviceTensor]:
    """Return the backend; UserError where its library or a GPU is missing. No CPU threads are used."""
    return TensorRtBackend(kind, load_tensorrt(kind), open_driver())
