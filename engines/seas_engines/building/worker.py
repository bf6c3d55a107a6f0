"""Builds one engine in a process of its own: `python -m seas_engines.building.worker SPEC.json`.

TensorRT's builder takes gigabytes, prints what it likes, and can end its process; and Polygraphy drives
either TensorRT or TensorRT-RTX in one. Reports go to stdout, a JSON object a line; all else to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seas_engines.targets.dialect import Dialect, dialect_of
from seas_engines.targets.targets import Target
from seas_runtime.backends.cores import peak_memory
from seas_runtime.backends.tensorrt.library import load_tensorrt
from seas_runtime.manifest.types import BATCH, STEPS, Shape, TensorSpec, known_sizes

Report = Callable[[Mapping[str, Any]], None]
_STEPS_MAXIMUM = 1000  # rows of a schedule, as the manifest allows them


@dataclass(frozen=True)
class WorkerSpec:
    """What to build."""

    graph: str
    """ONNX file in the dialect of the installed version."""
    shapes: Mapping[str, Shape]
    """Of its inputs and outputs, as the manifest has them: dynamic sizes are named."""
    out: str
    """File that receives the engine."""
    target: str
    """`tensorrt` or `rtx`."""
    devices: tuple[str, ...]
    """Compute capabilities, for rtx."""
    batch: tuple[int, int, int]
    """Minimum, preferred and maximum."""
    steps: int
    """Rows of the schedule that the engine is fastest with."""
    level: int | None = None
    """Builder optimization level, or None for the library's own choice."""
    workspace: int | None = None
    """Bytes of device memory for scratch at most."""
    timing_cache: str | None = None
    """File that is read and written."""
    memory: int | None = None
    """Bytes of address space that the process may take; Linux and macOS."""
    weight_streaming: bool = False
    """Whether weights may stay in host memory and be streamed as they are needed."""

    def write(self, file: Path) -> None:
        """Write the specification as JSON."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> WorkerSpec:
        """Read what `write` wrote."""
        values = json.loads(file.read_text(encoding="utf-8"))
        values["devices"], values["batch"] = tuple(values["devices"]), tuple(values["batch"])
        values["shapes"] = {name: tuple(shape) for name, shape in values["shapes"].items()}
        return cls(**values)


def main(file: Path) -> int:
    """Build; returns 0, or 1 after reporting an error."""
    report = _reports()
    spec = WorkerSpec.read(file)
    if spec.memory is not None:
        _limit_memory(spec.memory)
    began = time.perf_counter()
    try:
        tensors = _build(spec, report)
    except MemoryError:
        report({"error": "out of memory", "memory": True})
        return 1
    except Exception as error:  # Polygraphy's, the library's, and Python's own
        report({"error": _first_line(error), "memory": "memory" in str(error).lower()})
        return 1
    report({"done": True, "seconds": time.perf_counter() - began, "peak": peak_memory(), "tensors": tensors})
    return 0


def _reports() -> Report:
    """Keep stdout for reports, and send what libraries print there to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(message: Mapping[str, Any]) -> None:
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return report


def _build(spec: WorkerSpec, report: Report) -> dict[str, Any]:
    """Build the engine into its file; returns what its inputs and outputs are."""
    trt = load_tensorrt(spec.target)
    # After the module, as Polygraphy asks which of the two it is when it is imported.
    from polygraphy.backend.trt import EngineBytesFromNetwork, NetworkFromOnnxPath

    dialect = dialect_of(Target(spec.target), trt.__version__)
    report({"phase": "read the graph", "done": 0, "total": 0})
    loaded = NetworkFromOnnxPath(spec.graph, strongly_typed=dialect.strongly_typed)()
    network = loaded[1]
    _allow_decomposition(loaded)
    tensors = _tensors(network)
    config = _config(trt, spec, dialect, network, report)
    engine = EngineBytesFromNetwork(loaded, config=config, save_timing_cache=spec.timing_cache)()
    with Path(spec.out).open("wb") as out:
        out.write(memoryview(engine))
    return tensors


def _allow_decomposition(loaded: Any) -> None:
    """Let attention fall apart where the device has no kernel for its width, as for a VAE's 512 channels."""
    from polygraphy.backend import trt as loaders

    decompose = getattr(loaders, "SetDecomposableAttentions", None)
    if decompose is not None:
        decompose(loaded)()


def _config(trt: Any, spec: WorkerSpec, dialect: Dialect, network: Any, report: Report) -> Any:
    """Return Polygraphy's loader of the builder's configuration."""
    from polygraphy.backend.trt import CreateConfig

    options: dict[str, Any] = {
        "profiles": [_profile(spec, network)],
        "builder_optimization_level": spec.level,
        "progress_monitor": _monitor(trt, report),
        "load_timing_cache": _existing(spec.timing_cache),
        "weight_streaming": spec.weight_streaming or None,
        "profiling_verbosity": trt.ProfilingVerbosity.LAYER_NAMES_ONLY,
    }
    if spec.workspace is not None:
        options["memory_pool_limits"] = {trt.MemoryPoolType.WORKSPACE: spec.workspace}
    if spec.target != Target.RTX.value:
        return CreateConfig(**options)
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

    capabilities = [tuple(map(int, device.split("."))) for device in spec.devices]
    return CreateConfigRTX(compute_capabilities=capabilities, **options)


def _profile(spec: WorkerSpec, network: Any) -> Any:
    """Return the optimization profile: `batch` as asked, a schedule of any length."""
    from polygraphy.backend.trt import Profile

    profile = Profile()
    sizes = [
        {BATCH: batch, STEPS: steps}
        for batch, steps in zip(spec.batch, (1, spec.steps, _STEPS_MAXIMUM), strict=True)
    ]
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if -1 in tuple(tensor.shape):
            shape = TensorSpec(tensor.name, "", spec.shapes[tensor.name])
            profile.add(tensor.name, *(known_sizes(shape.sized(**chosen)) for chosen in sizes))
    return profile


def _monitor(trt: Any, report: Report) -> Any:
    """Return TensorRT's progress monitor that reports, or None where the version has none."""
    base = getattr(trt, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            self.totals: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
            self.totals[phase_name] = num_steps
            report({"phase": phase_name, "parent": parent_phase, "done": 0, "total": num_steps})

        def step_complete(self, phase_name: str, step: int) -> bool:
            report({"phase": phase_name, "done": step + 1, "total": self.totals.get(phase_name, 0)})
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.totals.pop(phase_name, None)
            report({"phase": phase_name, "finished": True})

    return Monitor()


def _tensors(network: Any) -> dict[str, Any]:
    """Return name, dtype and shape of the network's inputs and outputs; -1 where a size is dynamic."""
    import numpy as np
    from polygraphy.datatype import DataType

    def describe(tensor: Any) -> dict[str, Any]:
        dtype = np.dtype(DataType.from_dtype(tensor.dtype).numpy()).name
        return {"name": tensor.name, "dtype": dtype, "shape": list(tensor.shape)}

    return {
        "inputs": [describe(network.get_input(index)) for index in range(network.num_inputs)],
        "outputs": [describe(network.get_output(index)) for index in range(network.num_outputs)],
    }


def _existing(file: str | None) -> str | None:
    return file if file is not None and Path(file).is_file() else None


def _limit_memory(size: int) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
