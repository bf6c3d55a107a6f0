"""ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seas_runtime.backends.cores import usable_cores
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.manifest import TensorSpec
from seas_runtime.schedule import Array

_DTYPES = {  # ONNX Runtime's names -> numpy's
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


class OnnxRuntimeSession:
    """A graph in an `onnxruntime.InferenceSession`; values are numpy arrays."""

    def __init__(self, session: Any, file: Path) -> None:
        self._session = session
        self._file = file
        self.inputs = tuple(_tensor_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor_spec(node) for node in session.get_outputs())

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run the graph once. Raises CheckFailed, naming the graph, if it fails."""
        try:
            values = self._session.run(list(outputs), dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise CheckFailed(f"{self._file}: the graph failed to run: {_first_line(error)}") from error
        return dict(zip(outputs, values, strict=True))


class OnnxRuntimeCpu:
    """Runs graphs with ONNX Runtime on the CPU, with `threads` threads each."""

    name = "cpu"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def load(self, file: Path) -> OnnxRuntimeSession:
        """Load the graph in `file`; UserError if ONNX Runtime cannot."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters comes as an exception
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise UserError(
                f"{file}: ONNX Runtime {onnxruntime.__version__} cannot load the graph: "
                f"{_first_line(error)}; export the bundle again, or update onnxruntime"
            ) from error
        return OnnxRuntimeSession(session, file)

    def upload(self, array: Array) -> Array:
        """Return the array: sessions read host memory."""
        return array

    def download(self, value: Array) -> Array:
        """Return the array: sessions write host memory."""
        return value


def open_backend(threads: int | None) -> OnnxRuntimeCpu:
    """Return the backend; UserError where ONNX Runtime is not installed or does not load."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"backend 'cpu': onnxruntime cannot be imported ({_first_line(error)}); "
            "install it: pip install seas-export[runtime]"
        ) from error
    return OnnxRuntimeCpu(threads or usable_cores())


def _tensor_spec(node: Any) -> TensorSpec:
    """Read an input or output; a dimension without a size becomes text."""
    shape = tuple(size if isinstance(size, int) else str(size) for size in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
