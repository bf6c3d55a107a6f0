"""ONNX Runtime's CUDA provider: tensors stay on the GPU, bound by address.

The bundle's own graphs run as they are, and give the same bytes every time. Where `seas-export engine
--target cuda` has written them anew for this provider, those are loaded and replayed as CUDA graphs: faster,
and the same up to rounding, since ONNX Runtime's group norm adds up in whatever order its blocks end.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_runtime.backends.contract import Backend, Call, DeviceMemoryError, Sequenced, Watch, first_line
from seas_runtime.backends.host import HostClock, run_failure
from seas_runtime.backends.onnxruntime.cpu import import_onnxruntime, open_session, tensor_spec
from seas_runtime.backends.onnxruntime.graph_files import CUDA_FORM, GraphFile, graph_file, own_graph
from seas_runtime.errors import UserError
from seas_runtime.installing import one_onnxruntime
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import STEP, Shape, known_sizes

if TYPE_CHECKING:
    from seas_runtime.bundle.content import GraphContent
    from seas_runtime.bundle.reading import Bundle

GRAPHS, TENSORRT = "graphs", "tensorrt"
VARIANTS = (GRAPHS, TENSORRT)
PROVIDER = "CUDAExecutionProvider"
_TENSORRT_PROVIDER = "TensorrtExecutionProvider"
_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # two runs of a request must agree: no race chooses an algorithm
    "arena_extend_strategy": "kSameAsRequested",  # memory grows by what is asked for, not by powers of two
}
_MOST_PIXELS = 8 * 512 * 512
_ENGINE_OPTIONS = {"fuse_conv_bias": "1", "enable_cuda_graph": "1"}


class BoundTensor:
    """An OrtValue on the device, or an equal part of one."""

    def __init__(self, value: Any, shape: tuple[int, ...], dtype: str, at: int = 0) -> None:
        self.value, self.shape, self.dtype = value, shape, dtype
        self.address = value.data_ptr() + at

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class BoundCall:
    """A run of a session on bound tensors."""

    def __init__(self, session: Any, binding: Any, options: tuple[Any, Any], file: Path, held: Any) -> None:
        self._session, self._binding, self._file = session, binding, file
        self._queued, self._awaited = options
        self._held = held  # the tensors that are bound by address alone

    def __call__(self, wait: bool = True) -> None:
        """Queue the run and, with `wait`, wait for all that is queued."""
        try:
            self._session.run_with_iobinding(self._binding, self._awaited if wait else self._queued)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise run_failure(str(self._file), first_line(error), DeviceMemoryError) from error


class BoundSession:
    """A graph in an `InferenceSession` whose inputs and outputs are bound by address."""

    _graph_ids = itertools.count(1)

    def __init__(self, session: Any, content: GraphContent, device: str, graphs: bool) -> None:
        self._session, self._device, self._graphs = session, device, graphs
        self._content, self._file = content, content.file  # the content holds the weights
        self.inputs = tuple(tensor_spec(node) for node in session.get_inputs())
        self.outputs = tuple(tensor_spec(node) for node in session.get_outputs())

    def takes(self, batch: int) -> bool:
        """Take any."""
        return True

    def bind(self, feeds: Mapping[str, BoundTensor], outputs: Mapping[str, BoundTensor]) -> Call:
        """Return the call; outputs that nobody wants are not computed."""
        binding = self._session.io_binding()
        for bind, places in ((binding.bind_input, feeds), (binding.bind_output, outputs)):
            for name, place in places.items():
                bind(name, self._device, 0, np.dtype(place.dtype), list(place.shape), place.address)
        return BoundCall(
            self._session, binding, self._run_options(), self._file, (dict(feeds), dict(outputs))
        )

    def _run_options(self) -> tuple[Any, Any]:
        """Return the options of a run that is only queued, and of one that is waited for.

        With CUDA graphs each call, having addresses of its own, is captured under a number of its own; and
        all are waited for: ONNX Runtime does so after a replay, and cannot capture while a run is under way.
        """
        import onnxruntime

        number = next(self._graph_ids)
        both = []
        for queued in (True, False):
            options = onnxruntime.RunOptions()
            if queued and not self._graphs:
                options.add_run_config_entry("disable_synchronize_execution_providers", "1")
            if self._graphs:
                options.add_run_config_entry("gpu_graph_id", str(number))
            both.append(options)
        return both[0], both[1]


class OnnxRuntimeBound(HostClock):
    """Runs graphs with ONNX Runtime on tensors of `device`: `cuda`, or `cpu` where no GPU is to be had."""

    name = "cuda"
    joins = True
    loads_at_once = False
    threads = None

    def __init__(self, providers: Sequence[Any], device: str = "cuda", variant: str = "") -> None:
        self._providers, self._device, self._variant = list(providers), device, variant

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return version, variant and GPU, and the precision of engines where there are some."""
        import onnxruntime

        from seas_runtime.backends.cuda.device import find_cuda_device

        gpu = find_cuda_device()
        version = f"onnxruntime {onnxruntime.__version__}"
        found = self._graph_file(bundle, STEP)
        return {
            "version": f"{version} {self._variant}".rstrip(),
            "device": gpu.name if gpu else self._device,
            **({"engines": CUDA_FORM, "precision": found.precision} if found.is_engine else {}),
        }

    def most_at_once(self, pixels: int) -> int | None:
        """Return eight of 512x512: more gained nothing on an H200, where the masks of 24 took 89 GiB."""
        return max(1, _MOST_PIXELS // pixels)

    def load(self, bundle: Bundle, graph: str) -> BoundSession:
        """Load a graph; UserError if ONNX Runtime cannot."""
        import onnxruntime

        found = self._graph_file(bundle, graph)
        content = found.load()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what matters comes as an exception
        options.use_deterministic_compute = not found.is_engine
        session = open_session(content, options, self._providers_for(found))
        wanted = _provider_name(self._providers[0])
        if wanted not in session.get_providers():
            raise UserError(
                f"backend 'cuda': ONNX Runtime {onnxruntime.__version__} cannot start {wanted} (its CUDA or "
                "cuDNN libraries do not load); see `seas-export doctor`, or choose another --backend"
            )
        return BoundSession(session, content, self._device, found.is_engine or self._variant == GRAPHS)

    def _graph_file(self, bundle: Bundle, graph: str) -> GraphFile:
        """Return what to load for a graph; TensorRT's provider makes engines of its own."""
        return own_graph(bundle, graph) if self._variant == TENSORRT else graph_file(bundle, graph)

    def _providers_for(self, found: GraphFile) -> list[Any]:
        """Return the providers with the options of a graph.

        Without TF32 float32 means float32; but that option takes the tensor cores from half precision too.
        """
        extra = {"use_tf32": "0" if found.precision == "fp32" else "1"}
        if found.is_engine:
            extra |= _ENGINE_OPTIONS
        return [
            (provider[0], {**provider[1], **extra}) if _provider_name(provider) == PROVIDER else provider
            for provider in self._providers
        ]

    def allocate(self, shape: Shape, dtype: str) -> BoundTensor:
        """Return memory of the device, zeroed; UserError for a size that only the graph knows."""
        import onnxruntime

        sizes = known_sizes(shape)
        try:
            value = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(sizes, dtype), self._device, 0)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise run_failure("GPU", first_line(error), DeviceMemoryError) from error
        return BoundTensor(value, sizes, dtype)

    def part(self, value: BoundTensor, index: int, count: int) -> BoundTensor:
        """Return one of `count` equal parts along the first axis: the same memory."""
        shape = (value.shape[0] // count, *value.shape[1:])
        return BoundTensor(value.value, shape, value.dtype, index * (value.size // count))

    def write(self, value: BoundTensor, array: Array) -> None:
        """Copy to the device."""
        value.value.update_inplace(np.ascontiguousarray(array, dtype=value.dtype).reshape(value.shape))

    def read(self, values: Sequence[BoundTensor]) -> list[Array]:
        """Copy from the device; every sequence was waited for."""
        return [np.array(value.value.numpy()) for value in values]

    def sequence(self, calls: Sequence[Any]) -> Sequenced:
        """Queue all calls, and wait at the last: one session's next graph may run on another stream."""

        def run(watch: Watch) -> None:
            watch()
            for call in calls[:-1]:
                call(wait=False)
            calls[-1](wait=True)

        return run


def open_backend(kind: str, variant: str, threads: int | None) -> Backend[BoundTensor]:
    """Return the backend; UserError where ONNX Runtime is missing or was built without CUDA."""
    onnxruntime = import_onnxruntime(kind, "cuda")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # those of NVIDIA's packages for Python, where they are installed
    there = onnxruntime.get_available_providers()
    wanted = _TENSORRT_PROVIDER if variant == TENSORRT else PROVIDER
    if wanted not in there:
        raise UserError(
            f"backend {kind!r}: expected ONNX Runtime with {wanted}, found {', '.join(there)}; install it in "
            f"place of onnxruntime: {one_onnxruntime('cuda')}"
        )
    options = dict(_OPTIONS)
    if variant == GRAPHS:
        options["enable_cuda_graph"] = "1"
    providers: list[Any] = [(PROVIDER, options)]
    if variant == TENSORRT:
        # No cache: it would load engines that nobody has hashed.
        providers.insert(0, (_TENSORRT_PROVIDER, {"trt_engine_cache_enable": "0"}))
    return OnnxRuntimeBound(providers, variant=variant)


def _provider_name(provider: Any) -> str:
    return str(provider[0] if isinstance(provider, tuple) else provider)
