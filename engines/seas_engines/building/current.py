"""Which engines of a bundle are current for one target, and what a build takes over from older ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from seas_engines.targets.dialect import REVISION, Dialect
from seas_engines.targets.options import EngineOptions
from seas_engines.targets.targets import Precision, Target
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.engine import Engine
from seas_runtime.engines.errors import EngineDamaged
from seas_runtime.engines.record import BatchRange, EngineIdentity
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from seas_runtime.methods.table import find_method


@dataclass(frozen=True)
class TargetEngines:
    """The engines of a bundle for one target, as the installed version builds them."""

    bundle: Bundle
    target: Target
    precision: Precision
    version: str
    dialect: Dialect
    devices: tuple[str, ...]
    options: EngineOptions

    @cached_property
    def store(self) -> EngineStore:
        """Where they are kept."""
        return EngineStore.of(self.bundle)

    @cached_property
    def graphs(self) -> tuple[str, ...]:
        """The graphs that are asked for; UserError for one that nothing runs."""
        runs = find_method(self.bundle.manifest.method).graphs_of(self.bundle.manifest)
        known = [
            name
            for name, graph in self.bundle.manifest.graphs.items()
            if name in runs or graph.input("step_index") is not None
        ]
        for name in self.options.graphs:
            if name not in known:
                raise UserError(f"--graph: expected one of {', '.join(known)}, found {name!r}")
        return self.options.graphs or runs

    def identity(self, graph: str) -> EngineIdentity:
        """Return what a current engine of a graph is of and for."""
        options = {"revision": REVISION}
        if self.options.level is not None:
            options["level"] = str(self.options.level)
        return EngineIdentity(
            graph=graph,
            content=self.store.content(graph),
            target=self.target.value,
            backend_version=self.version,
            devices=self.devices,
            precision=self.precision.value,
            batch=self._batch(graph),
            options=options,
        )

    def _batch(self, graph: str) -> BatchRange:
        """Return a graph's batch sizes: the last steps of a batch are read together where that helps."""
        batch = self.options.batch
        if self.target is Target.CUDA:
            return BatchRange(1, 1, 1024)
        manifest = self.bundle.manifest
        readouts = find_method(manifest.method).readouts(manifest, None)
        together = next((item.steps for item in readouts if item.graph == graph), 1)
        return BatchRange(batch.minimum, batch.preferred * together, batch.maximum * together)

    def current(self, graph: str, say: Callable[[str], None]) -> Engine | None:
        """Return a graph's engine where it is current and whole; what is damaged is said and removed."""
        identity = self.identity(graph)
        if self.options.force:
            return None
        try:
            engine = self.store.get(identity)
            if engine is not None:
                self.store.verify(engine)
        except EngineDamaged as error:
            say(f"{error}")
            if self.options.build:
                self.store.discard(identity.key)
            return None
        if engine is not None and engine.record.shipped != self.options.ship and self.options.ship:
            return None
        return engine

    def known_float32(self, graph: str) -> Mapping[str, Any] | None:
        """Return the choice of float32 nodes that an engine of the same graph and dialect rests on."""
        identity = self.identity(graph)
        for engine in self.store.engines()[0]:
            other, half = engine.identity, engine.record.facts.get("half")
            if (
                isinstance(half, Mapping)
                and isinstance(half.get("float32"), list)
                and (other.content, other.graph, other.target)
                == (identity.content, identity.graph, identity.target)
                and other.options.get("revision") == REVISION
                and engine.record.facts.get("opset") == self.dialect.opset
            ):
                return half
        return None

    def remove_outdated(self, engine: Engine) -> None:
        """Remove engines that the new one stands for: of the same use, but of other content or version."""

        def use(identity: EngineIdentity) -> tuple[Any, ...]:
            return identity.graph, identity.target, identity.devices, identity.precision, identity.batch

        for other in self.store.engines()[0]:
            if use(other.identity) == use(engine.identity) and other.identity.key != engine.identity.key:
                self.store.remove(other)
