"""Engines of target `cuda`: graphs in ONNX Runtime's own operators, with their weights beside them.

Nothing in them was compiled, so one serves every GPU and every version that has the operators.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seas_runtime.engines.engine import Engine
from seas_runtime.engines.errors import EngineMissing
from seas_runtime.engines.store import EngineStore

if TYPE_CHECKING:
    from seas_runtime.bundle.content import GraphContent
    from seas_runtime.bundle.reading import Bundle

CUDA_FORM = "graph 2"
"""What these engines have for a backend's version: raised when graphs are written otherwise."""
ANY_GPU = "any NVIDIA GPU"
"""What they have for a device."""


@dataclass(frozen=True)
class GraphFile:
    """A graph to load: the bundle's own, or an engine of it.

    `precision` is that of its weights and activations; `engine` None for the bundle's own.
    """

    file: Path
    precision: str
    store: EngineStore
    load: Callable[[], GraphContent]
    """Returns what is loaded: of an engine after its hashes have been compared, which may raise
    EngineDamaged; the bundle's own were compared before."""
    engine: Engine | None = None

    @property
    def is_engine(self) -> bool:
        """Whether it was written for this provider."""
        return self.engine is not None


def own_graph(bundle: Bundle, graph: str) -> GraphFile:
    """Return the bundle's own graph."""
    store, load = EngineStore.of(bundle), partial(bundle.graph, graph)
    return GraphFile(bundle.graph_path(graph), bundle.manifest.precision, store, load)


def graph_file(bundle: Bundle, graph: str) -> GraphFile:
    """Return the engine of a graph, or the bundle's own graph where no engine was built.

    Raises:
        EngineStale, EngineForeign, EngineDamaged: there is one, but not to be loaded.
    """
    own = own_graph(bundle, graph)
    try:
        engine = own.store.find(graph, "cuda", CUDA_FORM, ANY_GPU)
    except EngineMissing:
        return own
    load = partial(own.store.graph, engine)
    return GraphFile(engine.file, engine.identity.precision, own.store, load, engine)
