"""OpenVINO on the CPU: bfloat16 where the processor multiplies it, float32 otherwise or where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_runtime.backends import Call, Shape, first_line
from seas_runtime.backends.cores import usable_cores
from seas_runtime.backends.host import HostMemory, HostTensor, run_failure
from seas_runtime.backends.openvino_cache import CompiledGraphs
from seas_runtime.errors import UserError
from seas_runtime.manifest import TensorSpec
from seas_runtime.schedule import Array

if TYPE_CHECKING:
    from seas_runtime.bundle import Bundle

VARIANTS = ("bf16", "fp32")
_HINTS = {"bf16": "bf16", "fp32": "f32"}  # ours -> OpenVINO's
_DTYPES = {  # OpenVINO's names -> numpy's
    "f32": "float32",
    "f16": "float16",
    "i64": "int64",
    "i32": "int32",
    "u8": "uint8",
    "boolean": "bool",
}


class OpenVinoTensor(HostTensor):
    """A place that OpenVINO reads and writes without a copy; where its size is known its memory stays."""

    __slots__ = ("_tensor",)

    def __init__(self, shape: Shape, dtype: str) -> None:
        super().__init__(shape, dtype)
        self._tensor: Any = None
        sizes = tuple(size for size in shape if size is not None)
        if len(sizes) == len(shape):
            self.hold(np.zeros(sizes, dtype))

    def hold(self, array: Array) -> None:
        """Make `array` the place's memory."""
        import openvino

        self.array = array
        self._tensor = openvino.Tensor(array, shared_memory=True)

    @property
    def tensor(self) -> Any:
        """The memory as OpenVINO's tensor; None where no array is held yet."""
        return self._tensor


class OpenVinoSession:
    """A compiled model with one request of its own."""

    def __init__(self, compiled: Any, file: Path) -> None:
        self._file = file
        self._request = compiled.create_infer_request()
        self.inputs = tuple(_tensor_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_tensor_spec(port) for port in compiled.outputs)
        self._ports = {port.get_any_name(): port for port in (*compiled.inputs, *compiled.outputs)}
        # What nobody wants of a call is written all the same: to memory that belongs to no place.
        self._spare = {port.get_any_name(): _empty_tensor(port) for port in compiled.outputs}

    def takes(self, batch: int) -> bool:
        """Take any."""
        return True

    def bind(self, feeds: Mapping[str, OpenVinoTensor], outputs: Mapping[str, OpenVinoTensor]) -> Call:
        """Return the call; it raises CheckFailed, naming the graph, if the graph fails."""
        request, ports = self._request, self._ports
        given = [(ports[name], place) for name, place in feeds.items()]
        wanted = [(ports[name], place) for name, place in outputs.items()]
        unwanted = [(ports[name], tensor) for name, tensor in self._spare.items() if name not in outputs]
        shared = [(port, place) for port, place in wanted if place.tensor is not None]
        copied = [(port, place) for port, place in wanted if place.tensor is None]

        def call() -> None:
            try:
                for port, place in given:
                    request.set_tensor(port, place.tensor)
                for port, place in shared:
                    request.set_tensor(port, place.tensor)
                for port, tensor in unwanted:
                    request.set_tensor(port, tensor)
                request.infer()
            except Exception as error:  # OpenVINO raises RuntimeError and its own
                raise run_failure(str(self._file), first_line(error)) from error
            for port, place in copied:
                place.hold(request.get_tensor(port).data.copy())

        return call


class OpenVinoCpu(HostMemory):
    """Runs graphs with OpenVINO on the CPU, one after another, each with `threads` threads."""

    name = "openvino"

    def __init__(self, core: Any, version: str, precision: str, threads: int) -> None:
        self._core, self._version, self._precision = core, version, precision
        self._processor = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
        self._to_keep: list[tuple[CompiledGraphs, str, Any, OpenVinoSession]] = []
        self.threads = threads

    def identity(self) -> dict[str, str]:
        """Return version and precision."""
        return {"version": f"openvino {self._version}", "precision": self._precision}

    def load(self, bundle: Bundle, graph: str) -> OpenVinoSession:
        """Import a graph that was compiled before, or compile it; UserError if OpenVINO cannot."""
        file = bundle.graph_path(graph)
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[self._precision],
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,  # the next step waits for this one
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
        }
        kept = CompiledGraphs(bundle, self._version, self._processor, options)
        imported = kept.load(self._core, graph, "CPU", options)
        if imported is not None:
            return OpenVinoSession(imported, file)
        try:
            compiled = self._core.compile_model(str(file), "CPU", options)
        except Exception as error:  # as above
            raise UserError(
                f"{file}: OpenVINO {self._version} cannot load the graph: {first_line(error)}; "
                "export the bundle again, or update openvino"
            ) from error
        session = OpenVinoSession(compiled, file)
        self._to_keep.append((kept, graph, compiled, session))
        return session

    def settle(self) -> None:
        """Keep what was compiled, once it has run."""
        while self._to_keep:
            kept, graph, compiled, session = self._to_keep.pop()
            kept.save(graph, compiled, session.inputs, session.outputs)

    def allocate(self, shape: Shape, dtype: str) -> OpenVinoTensor:
        """Return a place whose memory OpenVINO uses as it is."""
        return OpenVinoTensor(shape, dtype)

    def write(self, value: HostTensor, array: Array) -> None:
        """Copy the array into the place, or make it the place's memory where that had no size."""
        assert isinstance(value, OpenVinoTensor)
        if value.array is None:
            value.hold(np.array(array, dtype=value.dtype))
        else:
            np.copyto(value.array, array, casting="unsafe")

    def read(self, values: Sequence[HostTensor]) -> list[Array]:
        """Return copies: the next batch writes to the same memory."""
        return [value.get().copy() for value in values]


def open_backend(kind: str, variant: str, threads: int | None) -> OpenVinoCpu:
    """Return the backend; UserError where OpenVINO is not installed or the precision not to be had."""
    try:
        import openvino
    except ImportError as error:
        raise UserError(
            f"backend {kind!r}: openvino cannot be imported ({first_line(error)}); "
            "install it: pip install seas-export[openvino]"
        ) from error
    core = openvino.Core()
    able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if variant == "bf16" and not able:
        raise UserError(
            f"backend '{kind}:bf16': expected a processor with bfloat16 products (AVX512-BF16 or AMX), found "
            f"{core.get_property('CPU', 'FULL_DEVICE_NAME')}; use '{kind}:fp32'"
        )
    precision = variant or ("bf16" if able else "fp32")
    version = openvino.get_version().split("-")[0]
    return OpenVinoCpu(core, version, precision, usable_cores() if threads is None else threads)


def _empty_tensor(port: Any) -> Any:
    """Return a tensor that OpenVINO gives the size that it needs."""
    import openvino

    sizes = [0 if size.is_dynamic else size.get_length() for size in port.get_partial_shape()]
    return openvino.Tensor(port.get_element_type(), openvino.Shape(sizes))


def _tensor_spec(port: Any) -> TensorSpec:
    """Return a port as the manifest describes tensors; a size without a number becomes text."""
    shape = tuple(
        str(size) if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape()
    )
    name = port.get_element_type().get_type_name()
    return TensorSpec(port.get_any_name(), _DTYPES.get(name, name), shape)
