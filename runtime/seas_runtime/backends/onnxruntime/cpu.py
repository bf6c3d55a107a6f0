"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_runtime.backends.contract import Backend, Call, first_line
from seas_runtime.backends.cores import usable_cores
from seas_runtime.backends.host import HostTensor, OnProcessor, run_failure
from seas_runtime.errors import UserError
from seas_runtime.installing import install
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import Shape, TensorSpec

if TYPE_CHECKING:
    from seas_runtime.bundle.content import GraphContent
    from seas_runtime.bundle.reading import Bundle

VARIANTS = ()
_FOLDER = "session.model_external_initializers_file_folder_path"
_DTYPES = {  # ONNX Runtime's names -> numpy's
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


class OnnxRuntimeSession:
    """A graph in an `onnxruntime.InferenceSession`; values are host tensors."""

    def __init__(self, session: Any, content: GraphContent) -> None:
        self._session, self._content = session, content  # which holds the weights
        self._file = content.file
        self.inputs = tuple(tensor_spec(node) for node in session.get_inputs())
        self.outputs = tuple(tensor_spec(node) for node in session.get_outputs())

    def takes(self, batch: int) -> bool:
        """Take any."""
        return True

    def bind(self, feeds: Mapping[str, HostTensor], outputs: Mapping[str, HostTensor]) -> Call:
        """Return the call; it raises CheckFailed, naming the graph, if the graph fails."""
        names, places = list(outputs), list(outputs.values())
        feeds = dict(feeds)

        def call() -> None:
            arrays = {name: value.get() for name, value in feeds.items()}
            try:
                made = self._session.run(names, arrays)
            except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
                raise run_failure(str(self._file), first_line(error)) from error
            for place, array in zip(places, made, strict=True):
                place.array = array

        return call


class OnnxRuntimeCpu(OnProcessor):
    """Runs graphs with ONNX Runtime on the CPU, with `threads` threads each."""

    name = "cpu"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return the version; threads only share out rows and columns, which changes no sum's order."""
        import onnxruntime

        return {"version": f"onnxruntime {onnxruntime.__version__}"}

    def load(self, bundle: Bundle, graph: str) -> OnnxRuntimeSession:
        """Load a graph; UserError if ONNX Runtime cannot."""
        import onnxruntime

        content = bundle.graph(graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters comes as an exception
        return OnnxRuntimeSession(open_session(content, options, ["CPUExecutionProvider"]), content)

    def allocate(self, shape: Shape, dtype: str) -> HostTensor:
        """Return an empty place: graphs bring the memory of their outputs along."""
        return HostTensor(shape, dtype)

    def write(self, value: HostTensor, array: Array) -> None:
        """Hold the array itself: nothing is copied."""
        value.array = np.ascontiguousarray(array, dtype=value.dtype)

    def read(self, values: Sequence[HostTensor]) -> list[Array]:
        """Return the arrays: every run made new ones."""
        return [value.get() for value in values]


def open_backend(kind: str, variant: str, threads: int | None) -> Backend[HostTensor]:
    """Return the backend; UserError where onnxruntime is not installed."""
    import_onnxruntime(kind, "runtime")
    return OnnxRuntimeCpu(usable_cores() if threads is None else threads)


def import_onnxruntime(kind: str, extra: str) -> Any:
    """Return the onnxruntime package; UserError naming the extra to install where it cannot be imported."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"backend {kind!r}: onnxruntime cannot be imported ({first_line(error)}); "
            f"install it: {install(extra)}"
        ) from error
    return onnxruntime


def open_session(content: GraphContent, options: Any, providers: list[Any]) -> Any:
    """Return an `InferenceSession` of a graph; UserError if ONNX Runtime cannot load it.

    It is given the bytes that were checked. Weights it maps itself, since of arrays it holds a second copy;
    afterwards their file must still be the one that was compared. The format is named, or the first bytes
    would choose it.
    """
    import onnxruntime

    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        if content.tensors and _takes_a_folder(onnxruntime.__version__):
            options.add_session_config_entry(_FOLDER, str(content.file.absolute().parent))
        elif content.tensors:
            weights = content.weights
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
            options.add_external_initializers(list(weights), values)
        session = onnxruntime.InferenceSession(content.data, options, providers=providers)
    except Exception as error:  # as above
        raise UserError(
            f"{content.file}: ONNX Runtime {onnxruntime.__version__} cannot load the graph: "
            f"{first_line(error)}; export the bundle again, or update onnxruntime"
        ) from error
    content.confirm()
    return session


def _takes_a_folder(version: str) -> bool:
    """Whether ONNX Runtime can be told where the weights of a graph lie that it is given as bytes."""
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return numbers >= [1, 22]


def tensor_spec(node: Any) -> TensorSpec:
    """Return an ONNX Runtime `NodeArg` as the manifest describes tensors."""
    shape = tuple(size if isinstance(size, int) else str(size) for size in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)
