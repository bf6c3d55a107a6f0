"""Graphs in ONNX Runtime whose weights stay in the files of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from seas_runtime.manifest.schedule import Array


def open_graph(model: ir.Model, folder: Path, threads: int = 0, *, in_order: bool = False) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model whose large weights lie in files of `folder`.

    What is quantized is computed as the graph says, in float: rounded, and multiplied as float32. What a
    processor without instructions for int8 makes of it besides, as sums that saturate, is left out.
    With `in_order` values are freed as early as can be: for a graph that is watched.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder.absolute())
    )
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if in_order:
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.disable_prepacking", "1")
    data = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


class PlainGraph:
    """A graph of a file that runs as it says; it is opened when it is first run."""

    def __init__(self, file: Path, threads: int = 0) -> None:
        self._file, self._threads = file, threads
        self._session: Any = None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph."""
        if self._session is None:
            self._session = open_graph(ir.load(self._file), self._file.parent, self._threads)
        names = [value.name for value in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
