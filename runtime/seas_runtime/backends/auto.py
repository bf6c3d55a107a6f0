"""Which backend runs a bundle fastest on this machine, and why the others do not."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from seas_runtime.backends.cores import CPUINFO, processor_flags
from seas_runtime.backends.cuda.device import find_cuda_device
from seas_runtime.errors import UserError
from seas_runtime.installing import hidden_package, install, one_onnxruntime
from seas_runtime.methods.table import find_method
from seas_runtime.packages import broken


@dataclass(frozen=True)
class Candidate:
    """A backend, whether this machine can run the bundle on it, and why it is (not) taken."""

    backend: str
    usable: bool
    why: str


@dataclass(frozen=True)
class Choice:
    """What `auto` takes, and all that it looked at, the fastest first."""

    backend: str
    candidates: tuple[Candidate, ...]

    def in_words(self) -> str:
        """Return a line for the user: what is taken and why, and what would be faster."""
        taken = next(item for item in self.candidates if item.backend == self.backend)
        passed = self.candidates[: self.candidates.index(taken)]
        faster = "; ".join(f"{item.backend}: {item.why}" for item in passed)
        return f"backend {taken.backend}: {taken.why}" + (f" (passed over: {faster})" if faster else "")


def choose(bundle: Path | None = None, signed: Mapping[str, str] | None = None) -> Choice:
    """Return the fastest usable backend for the bundle in folder `bundle`, or for one without engines.

    `signed` is as `EngineStore` takes it.

    Raises UserError where no backend is installed.
    """
    found = list(candidates(bundle, signed))
    for place, item in enumerate(found):
        if item.usable and (reason := _does_not_import(item.backend)):
            found[place] = replace(item, usable=False, why=reason)
        elif item.usable:
            return Choice(item.backend, tuple(found))
    reasons = "; ".join(f"{item.backend}: {item.why}" for item in found)
    raise UserError(
        f"--backend auto: expected a backend that this machine can use, found none ({reasons}); "
        f"install one: {install('runtime')}"
    )


def candidates(bundle: Path | None = None, signed: Mapping[str, str] | None = None) -> tuple[Candidate, ...]:
    """Return every backend, the fastest first.

    The order is that of what they do: engines compiled for the GPU before kernels launched one by one there,
    a GPU before the CPU, half the bits before all of them; then the default.
    """
    checks: tuple[tuple[str, Callable[[Path | None], str], str], ...] = (
        ("tensorrt", partial(_engines, "tensorrt", signed), "engines built on this GPU"),
        ("rtx", partial(_engines, "rtx", signed), "engines built for this GPU"),
        ("cuda", _cuda, "there is a GPU, and ONNX Runtime was built for it"),
        ("openvino", _openvino, "this processor multiplies bfloat16"),
        ("cpu", _cpu, "ONNX Runtime on the processor's cores, the default"),
    )
    made = []
    for backend, check, why in checks:
        try:
            obstacle = check(bundle)
        except UserError as error:
            obstacle = str(error)
        made.append(Candidate(backend, not obstacle, obstacle or why))
    return tuple(made)


def _does_not_import(backend: str) -> str:
    """Return why the package behind a backend that would be taken is of no use, or nothing.

    It is imported here, as it would be right after.
    """
    if backend != "openvino":
        return ""
    from seas_runtime.backends.openvino.importing import import_openvino

    try:
        import_openvino()
    except Exception as error:  # a broken one raises anything
        return broken("openvino", error)
    return ""


def _engines(target: str, signed: Mapping[str, str] | None, bundle: Path | None) -> str:
    """Return what keeps engines of the bundle from running here, or nothing."""
    gpu = find_cuda_device()
    if gpu is None:
        return "no NVIDIA GPU"
    from seas_runtime.backends.tensorrt.library import MODULES, tensorrt_version

    version = tensorrt_version(target)
    if version is None:
        hidden = hidden_package(MODULES[target][0])
        return hidden or f"not installed: {install(target)}"
    if importlib.util.find_spec("cuda") is None:
        return f"cuda-python is not installed: {install(target)}; on a Jetson [jetson] brings it alone"
    if bundle is None:
        return ""
    from seas_runtime.bundle.reading import read_manifest_file
    from seas_runtime.engines.store import EngineStore

    manifest = read_manifest_file(bundle)[0]
    store = EngineStore(bundle, manifest, signed)
    device = gpu.engine_device(target)
    for graph in find_method(manifest.method).graphs_of(manifest):
        store.find(graph, target, version, device)
    return ""


def _cuda(bundle: Path | None) -> str:
    if find_cuda_device() is None:
        return "no NVIDIA GPU"
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime-gpu is not installed: {install('cuda')}"
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        without = "the onnxruntime that is installed was built without CUDA"
        return f"{without}: {one_onnxruntime('cuda')}"
    return ""


def _openvino(bundle: Path | None) -> str:
    """Without bfloat16 OpenVINO has no lead over the default that is worth other bytes."""
    flags = processor_flags(CPUINFO)
    if not flags & {"avx512_bf16", "amx_bf16"}:
        return "this processor does not multiply bfloat16"
    if importlib.util.find_spec("openvino") is None:
        return f"openvino is not installed: {install('openvino')}"
    return ""


def _cpu(bundle: Path | None) -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return f"onnxruntime is not installed: {install('runtime')}"
    return ""
