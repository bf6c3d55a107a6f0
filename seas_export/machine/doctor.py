"""What this machine can run: its packages, job by job, and what to install for those that it cannot yet."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from seas_export.machine.imports import broken_imports
from seas_export.machine.machine import Machine, describe_machine
from seas_export.version import DISTRIBUTION, installed, packaging, version
from seas_runtime.backends.auto import Candidate, candidates
from seas_runtime.installing import command, hidden_package, is_externally_managed, one_onnxruntime, where
from seas_runtime.units import gib

OLDEST_PYTHON = (3, 10)

# Any of these distributions is ONNX Runtime; they share one import name.
ONNX_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
BACKENDS = (
    *ONNX_RUNTIMES,
    "openvino",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-rtx",
    "tensorrt-rtx-cu13-bindings",
)
RTX = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")
# What each extra's jobs need. Lower bounds come from the installed distribution's own requirements.
_TRAIN = ("torch", "diffusers", "transformers", "accelerate", "psutil", "pyyaml", "tensorboard")
_ENGINES = ("onnx", "onnx-ir", "onnxruntime", "packaging", "psutil")
JOBS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("generate, bench, verify, inspect", "runtime", ("onnxruntime",)),
    ("train", "train", _TRAIN),
    (
        "build, export, verify --parity",
        "export",
        (*_TRAIN, "onnxruntime", "onnx", "onnxscript", "polygraphy", "jinja2", "packaging"),
    ),
    ("engine --target cuda", "engines", _ENGINES),
    ("engine --target rtx", "engines,rtx", (*_ENGINES, "polygraphy", *RTX)),
)
_ON_GPU = {"runtime": "cuda", "export": "gpu", "engines": "gpu"}
"""The extras that bring the one ONNX Runtime which uses a GPU, in place of those that bring the other."""
# Useful where they are, needed nowhere: what is broken of them is left out by training, and told here.
OPTIONAL = ("bitsandbytes", "torchvision", "torchaudio", "xformers", "flash-attn", "torchao", "peft")
DISPENSABLE = ("tensorboard", *OPTIONAL)
# What shows that a package works, where that is not the module of its own name.
_MODULES = {
    "accelerate": "accelerate",
    "diffusers": "diffusers:UNet2DConditionModel",
    "transformers": "transformers:CLIPTextModel",
    "tensorboard": "torch.utils.tensorboard",
    "pyyaml": "yaml",
    "onnx-ir": "onnx_ir",
    "flash-attn": "flash_attn",
    "xformers": "xformers.ops",
    "tensorrt-cu12": "tensorrt",
    "tensorrt-cu13": "tensorrt",
    "tensorrt-rtx": "tensorrt_rtx",
    "tensorrt-rtx-cu13-bindings": "tensorrt_rtx_bindings",
    **dict.fromkeys(ONNX_RUNTIMES, "onnxruntime"),
}
_NOT_IMPORTED = ("tensorrt-rtx-cu13-libs",)
_BACKENDS_NEED = {"cpu": "onnxruntime", "cuda": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}


@dataclass(frozen=True)
class Job:
    """Whether the packages that a set of commands needs are here and work.

    `missing`, `old` and `broken` are in words.
    """

    commands: str
    ready: bool
    missing: tuple[str, ...]
    old: tuple[str, ...]
    broken: tuple[str, ...]
    install: str | None


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` found."""

    version: str
    python_ok: bool
    machine: Machine
    jobs: tuple[Job, ...]
    packages: dict[str, str | None]
    """Distribution -> version, None where it is not installed."""
    broken: dict[str, str]
    """Distribution -> why it does not import."""
    backends: dict[str, str]
    auto: tuple[Candidate, ...]
    """What `--backend auto` goes through for a bundle whose engines are built, the fastest first."""
    advice: tuple[str, ...]


def diagnose(folder: Path = Path(), *, quick: bool = False) -> Diagnosis:
    """Look at this machine and the packages of this environment.

    Whether they import is tried in a process of its own, which a broken one may end; not with `quick`.
    """
    machine = describe_machine(folder)
    names = dict.fromkeys(name for _, _, needs in JOBS for name in needs) | dict.fromkeys(OPTIONAL)
    packages = {name: installed(name) for name in names}
    backends = {name: found for name in BACKENDS if (found := installed(name)) is not None}
    if packages["onnxruntime"] is None:
        packages["onnxruntime"] = next((backends[name] for name in ONNX_RUNTIMES if name in backends), None)
    old = _too_old(packages)
    broken = (
        {} if quick else _broken({name for name in (*packages, *backends) if {**packages, **backends}[name]})
    )
    gpu = bool(machine.gpus)
    jobs = tuple(
        _job(commands, _extras(extra, gpu), needs, packages, old, broken) for commands, extra, needs in JOBS
    )
    return Diagnosis(
        version=version(),
        python_ok=sys.version_info >= OLDEST_PYTHON,
        machine=machine,
        jobs=jobs,
        packages=packages,
        broken=broken,
        backends=backends,
        auto=_auto(broken),
        advice=(
            *(_mend(name, why) for name, why in broken.items()),
            *_advice(machine, backends, packages),
            *(() if all(job.ready for job in jobs) else (f"The commands above install {where()}.",)),
        ),
    )


def _extras(names: str, gpu: bool) -> tuple[str, ...]:
    """A job's extras, on a machine with a GPU those that use it."""
    return tuple(_ON_GPU.get(name, name) if gpu else name for name in names.split(","))


def _job(
    commands: str,
    extras: tuple[str, ...],
    needs: tuple[str, ...],
    packages: dict[str, str | None],
    too_old: dict[str, str],
    not_working: dict[str, str],
) -> Job:
    """Whether the packages that some commands need are here, new enough, and import."""
    missing = tuple(name for name in needs if packages[name] is None)
    old = tuple(too_old[name] for name in needs if name in too_old)
    broken = tuple(name for name in needs if name in not_working and name not in DISPENSABLE)
    ready = not missing and not old and not broken
    mend = command(*extras)
    if broken and not missing and not old:
        mend = f"pip install --force-reinstall {' '.join(broken)}"
    return Job(commands, ready, missing, old, broken, None if ready else mend)


def _broken(installed_names: set[str]) -> dict[str, str]:
    """Of installed distributions, those that do not import, and why."""
    modules = {
        name: _MODULES.get(name, name) for name in sorted(installed_names) if name not in _NOT_IMPORTED
    }
    dispensable = [module for name, module in modules.items() if name in OPTIONAL]
    found = broken_imports(modules.values(), dispensable)
    return {name: found[module] for name, module in modules.items() if module in found}


def _mend(name: str, why: str) -> str:
    """What is broken, and its cure."""
    left_out = "Nothing here needs it: commands go on without. " if name in DISPENSABLE else ""
    return (
        f"{name} is installed but broken ({why}). {left_out}Install the version that fits the others here: "
        f"pip install --force-reinstall --no-deps {name}; or remove it: pip uninstall {name}"
    )


def _auto(broken: dict[str, str]) -> tuple[Candidate, ...]:
    """What `auto` goes through; what does not import is not touched to ask it for more."""
    modules = {_MODULES.get(name, name).partition(":")[0] for name in broken}
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(dict.fromkeys(modules))  # type: ignore[arg-type]  # as if they were not installed
    try:
        found = candidates()
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
    return tuple(
        replace(item, usable=False, why=f"{needed} is broken")
        if (needed := _BACKENDS_NEED.get(item.backend)) in modules
        else item
        for item in found
    )


def _advice(machine: Machine, backends: dict[str, str], packages: dict[str, str | None]) -> tuple[str, ...]:
    """What a person with this machine should know."""
    lines = []
    if sys.version_info < OLDEST_PYTHON:
        lines.append(f"Python {machine.python} is too old: install 3.10 or newer.")
    if machine.gpus and "+cpu" in (packages["torch"] or ""):
        lines.append(
            f"There is a GPU ({machine.gpus[0].name}), but torch {packages['torch']} runs on the CPU only: "
            "install a CUDA build of torch to train on it."
        )
    if machine.gpus and packages["bitsandbytes"] is None:
        lines.append(
            "bitsandbytes would train Stable Diffusion 1.x with 8-bit AdamW: pip install bitsandbytes"
        )
    if not machine.gpus:
        lines.append(
            "No NVIDIA GPU found: the base micro trains on this CPU; Stable Diffusion 1.x needs a GPU."
        )
    if len([name for name in ONNX_RUNTIMES if name in backends]) > 1:
        both = ", ".join(f"{name} {backends[name]}" for name in ONNX_RUNTIMES if name in backends)
        lines.append(
            f"More than one ONNX Runtime is installed ({both}): they overwrite each other's files, "
            f"and CUDA is lost. Keep one: {one_onnxruntime('gpu' if machine.gpus else 'runtime')}."
        )
    if hidden := hidden_package("tensorrt"):
        lines.append(f"TensorRT: {hidden}.")
    if is_externally_managed():
        lines.append(
            "pip installs nothing into this Python, which belongs to the system (PEP 668): make a virtual "
            "environment, python3 -m venv seas, and use seas/bin/pip and seas/bin/seas-export."
        )
    if machine.disk_free is not None and machine.disk_free < 2 * 2**30:
        lines.append(f"Only {gib(machine.disk_free)} of disk are free here; a build may need 2.")
    return tuple(lines)


def _too_old(packages: dict[str, str | None]) -> dict[str, str]:
    """Packages under the installed distribution's lower bounds, in words; none where nothing reads them."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
        requirement, parsed = packaging("requirements").Requirement, packaging("version").Version
    except ImportError:  # PackageNotFoundError is one
        return {}
    old = {}
    for bound in map(requirement, lines):
        name = bound.name.lower()
        found = packages.get(name)
        # By its base: NVIDIA's builds of torch 2.8.0 call themselves 2.8.0a0.
        if found and not bound.specifier.contains(parsed(found).base_version):
            old[name] = f"{name} {found} (needs {str(bound.specifier).removeprefix('>=')})"
    return old
