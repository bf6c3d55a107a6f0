"""A graph as a library is given it: its bytes, and its weights mapped from files that were compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.bundle.checked import CheckedFiles
from seas_runtime.bundle.graphs.check import Graph, Limits, check_graph
from seas_runtime.bundle.graphs.model import Tensor
from seas_runtime.manifest.types import FileEntry, GraphSpec, Manifest

GRAPH_LIMIT = 128 << 20
"""Bytes of a graph without the weights that lie beside it. Exported ones have a few million at most."""


@dataclass(frozen=True, eq=False)
class GraphContent:
    """A graph that may be loaded. Libraries are given this, and never a path to read again.

    `data` is the ONNX model. `weights` are the bytes of its tensors by name, mapped from the file, not read.
    Hold the content as long as what was loaded from it.
    """

    file: Path
    data: bytes
    tensors: tuple[Tensor, ...]
    maps: Mapping[str, np.ndarray[Any, Any]]
    checked: CheckedFiles

    @property
    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The tensors that lie in other files, as arrays on the maps."""
        arrays = {}
        for tensor in self.tensors:
            external = tensor.external
            assert external is not None
            whole = self.maps[external.location]
            part = whole[external.offset : external.offset + external.length]
            arrays[tensor.name] = part.view(np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)
        return arrays

    def confirm(self) -> None:
        """Raise a UserError if weights were written while they were loaded."""
        for file in self._files():
            self.checked.confirm(file)

    def _files(self) -> list[str]:
        folder = self.file.parent.relative_to(self.checked.folder)
        return [(folder / location).as_posix() for location in self.maps]


class Graphs:
    """The graphs of a folder: each is checked when it is first asked for, and the same ever after."""

    def __init__(self, checked: CheckedFiles, steps: int, size: int) -> None:
        self._checked, self._steps, self._limits = checked, steps, Limits.of(size)
        self._known: dict[tuple[str, str], Graph] = {}

    def check(self, file: str, spec: GraphSpec) -> Graph:
        """Return what a graph's weights are; UserError for one that may not be loaded."""
        return self._read(file, spec)[1]

    def load(self, file: str, spec: GraphSpec) -> GraphContent:
        """Return the content of a graph for a library; raises as `check` does."""
        data, graph = self._read(file, spec)
        folder = Path(file).parent
        maps = {Path(name).relative_to(folder).as_posix(): self._checked.map(name) for name in graph.files}
        return GraphContent(self._checked.folder / file, data, graph.tensors, maps, self._checked)

    def _read(self, file: str, spec: GraphSpec) -> tuple[bytes, Graph]:
        data = self._checked.read(file, GRAPH_LIMIT)
        key = file, str(spec)
        if key not in self._known:
            where = str(self._checked.folder / file)
            self._known[key] = check_graph(
                data, where, spec, file, self._checked.entries, self._limits, self._steps
            )
        return data, self._known[key]


def bundle_size(files: Mapping[str, FileEntry]) -> int:
    """Return the bytes of all listed files."""
    return sum(entry.size for entry in files.values())


def graphs_of(checked: CheckedFiles, manifest: Manifest) -> Graphs:
    """Return the graphs of a bundle's own files."""
    return Graphs(checked, manifest.sampler.steps, bundle_size(manifest.files))
