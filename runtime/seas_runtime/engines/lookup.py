"""Which of a bundle's engines is the one to load, and why none is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.engines.engine import Engine, build_command, machine_identity
from seas_runtime.engines.errors import EngineForeign, EngineMissing, EngineStale, EngineWrongBatch
from seas_runtime.engines.seal import key_file


@dataclass(frozen=True)
class Wanted:
    """The engine that is looked for: see `EngineStore.find`."""

    bundle: Path
    graph: str
    target: str
    backend_version: str
    device: str
    batch: int | None
    apart: bool = False
    """Whether it is built only where its graph is asked for by name."""

    trusted: bool = False
    """Whether only an engine is loaded that is signed, or built and sealed here."""

    @property
    def command(self) -> str:
        """The command that builds it."""
        graph = self.graph if self.apart else ""
        return build_command(self.bundle, self.target, self.device, self.batch, graph=graph)

    @property
    def words(self) -> str:
        """The beginning of errors."""
        return f"{self.bundle}: the engine of {self.graph!r} for {self.target}"


def choose(found: Sequence[Engine], wanted: Wanted, content: Callable[[], str]) -> Engine:
    """Return the engine to load out of those of one graph and target; `content` hashes the graph.

    Raises the error of the first thing that none of them has: see `EngineStore.find`.
    """
    command = wanted.command
    if not found:
        raise EngineMissing(
            f"{wanted.bundle}: no engine of {wanted.graph!r} for {wanted.target}; build it: {command}",
            command,
        )
    mine = [engine for engine in found if wanted.device in engine.identity.devices]
    if not mine:
        there = sorted({name for engine in found for name in engine.identity.devices})
        raise EngineForeign(
            f"{wanted.words} is for {', '.join(there)}, this device is {wanted.device}; build it: {command}",
            command,
        )
    current = [engine for engine in mine if engine.identity.backend_version == wanted.backend_version]
    if not current:
        there = sorted({engine.identity.backend_version for engine in mine})
        raise EngineStale(
            f"{wanted.words} was built with version {', '.join(there)}, this machine runs "
            f"{wanted.backend_version}; build it again: {command}",
            command,
        )
    digest = content()
    current = [engine for engine in current if engine.identity.content == digest]
    if not current:
        raise EngineStale(
            f"{wanted.words} was built from another graph or other weights than this bundle's; build it "
            f"again: {command}",
            command,
        )
    here = machine_identity()
    current = [engine for engine in current if engine.record.shipped or engine.record.origin == here]
    if not current:
        raise EngineForeign(
            f"{wanted.words} was built on another machine and not with --ship-engines, so it is not loaded; "
            f"build it here: {command}",
            command,
        )
    if wanted.trusted:
        current = [engine for engine in current if engine.trust]
    if not current:
        raise EngineForeign(
            f"{wanted.words} is not signed, and not sealed by this machine's key ({key_file()}); a signature "
            f"was asked for, so it is not loaded; build it here: {command} --force",
            f"{command} --force",
        )
    return _for_batch(current, wanted)


def _for_batch(current: Sequence[Engine], wanted: Wanted) -> Engine:
    batch = wanted.batch
    if batch is None:
        return max(current, key=lambda engine: engine.record.built_at)
    fitting = [engine for engine in current if engine.identity.batch.holds(batch)]
    if not fitting:
        ranges = ", ".join(str(engine.identity.batch) for engine in current)
        raise EngineWrongBatch(
            f"{wanted.words} takes batches of {ranges}, not of {batch}; choose such a batch, or build one: "
            f"{wanted.command}",
            wanted.command,
        )
    return min(fitting, key=lambda engine: engine.identity.batch.width)
