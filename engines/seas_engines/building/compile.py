"""From a bundle to engines in its cache: what is current is kept, what is not is built."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seas_engines.building.current import TargetEngines
from seas_engines.building.prepare import Prepared, Preparer, check_precision
from seas_engines.building.subprocess import Built, run_worker
from seas_engines.building.worker import WorkerSpec
from seas_engines.targets import memory_plan
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.memory_plan import MemoryPlan
from seas_engines.targets.options import (
    EngineOptions,
    engine_devices,
    installed_version,
    refuse_engine_options,
    timing_cache_file,
)
from seas_engines.targets.targets import Precision, Target, require_known_target, require_precision
from seas_runtime.backends.cuda.device import CudaDevice, find_cuda_device
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.engine import Engine
from seas_runtime.engines.record import EngineIdentity, EngineRecord
from seas_runtime.errors import UserError

BuildProgress = Callable[[str, str, int, int], None]
"""Is told a graph, a phase of its build, how many of the phase's steps are done, and of how many."""
NOTHING_TO_BUILD = {
    Target.CPU: "ONNX Runtime reads the bundle's graphs as they are",
    Target.OPENVINO: "OpenVINO compiles the bundle's graphs when it loads them",
}


@dataclass(frozen=True)
class EngineResult:
    """One engine: `built` now, or current already; seconds and peak memory (bytes) of its build."""

    graph: str
    key: str
    devices: tuple[str, ...]
    precision: str
    batch: str
    size: int
    built: bool
    seconds: float | None
    peak: int | None
    float32_nodes: int | None


@dataclass(frozen=True)
class CompileResult:
    """What `compile_bundle` found or made; `note` says why there is nothing where there are no engines."""

    bundle: Path
    target: str
    version: str | None
    engines: tuple[EngineResult, ...]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {**asdict(self), "bundle": str(self.bundle)}


def compile_bundle(
    path: Path,
    options: EngineOptions,
    say: Callable[[str], None] = lambda line: None,
    progress: BuildProgress | None = None,
) -> CompileResult:
    """Have a current engine of every graph that generation runs, for one target.

    Raises:
        UserError: the bundle, an option, the library, the device or the memory is not what it must be.
        CheckFailed: a builder gave no engine, or half precision cannot keep its bounds.
    """
    target, spec = require_known_target(options.target)
    bundle = Bundle.read(path)
    if not spec.builds_engine:
        refuse_engine_options(options, target)
        return CompileResult(path, target.value, None, (), NOTHING_TO_BUILD[target])
    own = Precision.INT8 if bundle.manifest.precision == Precision.INT8.value else spec.precisions[0]
    precision = require_precision(target, options.precision or own.value)
    check_precision(bundle, precision)
    version = installed_version(target)
    here = find_cuda_device(free=True)
    devices = engine_devices(target, options, here)
    dialect = dialect_of(target, version)
    compiler = _Compiler(bundle, target, precision, version, dialect, devices, options, here, say, progress)
    return CompileResult(path, target.value, version, compiler.run(), "")


def check_engines(options: EngineOptions) -> None:
    """Raise what `compile_bundle` would for target, precision, library and device; no bundle is needed."""
    target, spec = require_known_target(options.target)
    require_precision(target, options.precision or spec.precisions[0].value)
    dialect_of(target, installed_version(target))
    engine_devices(target, options, find_cuda_device())


@dataclass(frozen=True)
class _Compiler(TargetEngines):
    """One run that builds what is missing."""

    here: CudaDevice | None
    say: Callable[[str], None]
    progress: BuildProgress | None

    def run(self) -> tuple[EngineResult, ...]:
        """Keep what is current, build the rest; the plan for memory is made before anything is built."""
        current = {graph: self.current(graph, self.say) for graph in self.graphs}
        missing = [graph for graph, engine in current.items() if engine is None]
        if not missing:
            return tuple(_result(engine, built=False) for engine in current.values() if engine)
        if not self.options.build:
            raise UserError(
                f"{self.bundle.path}: no current {self.target.value} engine of {', '.join(missing)} for "
                f"{', '.join(self.devices)}, and --no-build was given; run the command without it"
            )
        plan = MemoryPlan() if self.target is Target.CUDA else self._plan(missing)
        for note in plan.notes:
            self.say(note)
        results = []
        with self.store.workspace() as folder:
            preparer = Preparer(self.bundle, self.dialect, self.precision, folder)
            float32_nodes = self._float32_nodes(missing, preparer)
            for graph in self.graphs:
                engine = current[graph]
                results.append(
                    _result(engine, built=False)
                    if engine is not None
                    else self._build(graph, preparer, float32_nodes.get(graph), plan)
                )
        return tuple(results)

    def _plan(self, missing: Sequence[str]) -> MemoryPlan:
        sizes = {graph: memory_plan.weights_size(self.bundle, graph, self.precision) for graph in self.graphs}
        available = memory_plan.available_memory()
        for graph in missing:
            memory_plan.check_build_memory(graph, sizes[graph], available, self.options.memory)
        mine = self.here is not None and self.here.engine_device(self.target.value) in self.devices
        return memory_plan.plan_device(
            self.bundle,
            self.target,
            sizes,
            self.precision,
            self.options.batch.maximum,
            self.here if mine else None,
        )

    def _build(
        self,
        graph: str,
        preparer: Preparer,
        float32_nodes: Mapping[str, Any] | None,
        plan: MemoryPlan,
    ) -> EngineResult:
        identity = self.identity(graph)
        self.say(f"{graph}: build for {self.target.value} {self.version}, {', '.join(self.devices)}")
        began = time.perf_counter()
        prepared = preparer.prepare(graph, float32_nodes)
        if self.target is Target.CUDA:
            return self._add_graph(identity, prepared, time.perf_counter() - began)
        out = prepared.file.with_name("engine.bin")
        listed = self.bundle.manifest.graphs[graph]
        spec = WorkerSpec(
            graph=str(prepared.file),
            shapes={tensor.name: tensor.shape for tensor in (*listed.inputs, *listed.outputs)},
            out=str(out),
            target=self.target.value,
            devices=self.devices if self.target is Target.RTX else (),
            batch=(identity.batch.minimum, identity.batch.preferred, identity.batch.maximum),
            steps=self.bundle.manifest.sampler.steps,
            level=self.options.level,
            workspace=self.options.workspace,
            timing_cache=timing_cache_file(self.target, self.version, self.devices),
            memory=self.options.memory,
            weight_streaming=plan.weight_streaming,
        )
        progress = self.progress
        built = run_worker(
            spec,
            prepared.file.parent,
            None if progress is None else lambda phase, done, total: progress(graph, phase, done, total),
        )
        record = EngineRecord(
            identity=identity,
            inputs=built.inputs,
            outputs=built.outputs,
            facts=self._facts(built, prepared.float32_nodes, plan),
            shipped=self.options.ship,
        )
        engine = self.store.add(record, out)
        self.remove_outdated(engine)
        for file in prepared.file.parent.iterdir():  # the next graph needs the room
            file.unlink()
        return _result(engine, built=True)

    def _add_graph(self, identity: EngineIdentity, prepared: Prepared, seconds: float) -> EngineResult:
        """Keep a graph that nothing has to compile, with its weights beside it."""
        graph = self.bundle.manifest.graphs[identity.graph]
        facts: dict[str, Any] = {"seconds": round(seconds, 3), "opset": self.dialect.opset}
        if prepared.float32_nodes is not None:
            facts["half"] = dict(prepared.float32_nodes)
        record = EngineRecord(identity, graph.inputs, graph.outputs, facts, shipped=self.options.ship)
        engine = self.store.add(record, prepared.file, prepared.weights)
        self.remove_outdated(engine)
        return _result(engine, built=True)

    def _facts(self, built: Built, choice: Mapping[str, Any] | None, plan: MemoryPlan) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "seconds": round(built.seconds, 3),
            "peak": built.peak,
            "opset": self.dialect.opset,
            "strongly_typed": self.dialect.strongly_typed,
            "weight_streaming": plan.weight_streaming,
        }
        return facts if choice is None else {**facts, "half": dict(choice)}

    def _float32_nodes(self, missing: Sequence[str], preparer: Preparer) -> Mapping[str, Mapping[str, Any]]:
        """Return what stays in float32 in each graph that is built, or nothing for a bundle that is half."""
        if not preparer.converts:
            return {}
        known = {graph: self.known_float32(graph) for graph in missing}
        found = {graph: float32_nodes for graph, float32_nodes in known.items() if float32_nodes is not None}
        if len(found) < len(missing):
            self.say(f"half precision: measure {', '.join(missing)}")
        return preparer.choose(missing, found)


def _result(engine: Engine, *, built: bool) -> EngineResult:
    identity, facts = engine.identity, engine.record.facts
    half = facts.get("half")
    return EngineResult(
        graph=identity.graph,
        key=identity.key,
        devices=identity.devices,
        precision=identity.precision,
        batch=identity.batch.text,
        size=engine.record.file.size + sum(entry.size for entry in engine.record.companions.values()),
        built=built,
        seconds=facts.get("seconds"),
        peak=facts.get("peak"),
        float32_nodes=len(half["float32"]) if isinstance(half, Mapping) and "float32" in half else None,
    )
