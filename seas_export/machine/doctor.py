"""What this machine can run: its packages, job by job, and what to install for those that it cannot yet."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from seas_export.machine.machine import Machine, describe_machine
from seas_export.version import DISTRIBUTION, installed, packaging, version
from seas_runtime.backends.auto import Candidate, candidates
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
    ("engine --target rtx", "engines", (*_ENGINES, "polygraphy", *RTX)),
)
_INDEX = (
    f"No package index has {DISTRIBUTION} yet: in place of '{DISTRIBUTION}[...]' name '.[...]' in a clone, "
    "or the wheel that `make wheel` writes there: 'dist/seas_export-0.1.0-py3-none-any.whl[...]'."
)
# Useful where they are, needed nowhere.
OPTIONAL = ("bitsandbytes",)


@dataclass(frozen=True)
class Job:
    """Whether the packages that a set of commands needs are here; `missing` and `old` are in words."""

    commands: str
    ready: bool
    missing: tuple[str, ...]
    old: tuple[str, ...]
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
    backends: dict[str, str]
    auto: tuple[Candidate, ...]
    """What `--backend auto` goes through for a bundle whose engines are built, the fastest first."""
    advice: tuple[str, ...]


def diagnose(folder: Path = Path()) -> Diagnosis:
    """Look at this machine and the packages of this environment; nothing is imported to do so."""
    machine = describe_machine(folder)
    names = dict.fromkeys(name for _, _, needs in JOBS for name in needs) | dict.fromkeys(OPTIONAL)
    packages = {name: installed(name) for name in names}
    backends = {name: found for name in BACKENDS if (found := installed(name)) is not None}
    if packages["onnxruntime"] is None:
        packages["onnxruntime"] = next((backends[name] for name in ONNX_RUNTIMES if name in backends), None)
    old = _too_old(packages)
    jobs = tuple(_job(commands, extra, needs, packages, old) for commands, extra, needs in JOBS)
    return Diagnosis(
        version=version(),
        python_ok=sys.version_info >= OLDEST_PYTHON,
        machine=machine,
        jobs=jobs,
        packages=packages,
        backends=backends,
        auto=candidates(),
        advice=(
            *_advice(machine, backends, packages),
            *(() if all(job.ready for job in jobs) else (_INDEX,)),
        ),
    )


def _job(
    commands: str,
    extra: str,
    needs: tuple[str, ...],
    packages: dict[str, str | None],
    too_old: dict[str, str],
) -> Job:
    """Whether the packages that some commands need are here and new enough."""
    missing = tuple(name for name in needs if packages[name] is None)
    old = tuple(too_old[name] for name in needs if name in too_old)
    ready = not missing and not old
    return Job(commands, ready, missing, old, None if ready else f"pip install -U '{DISTRIBUTION}[{extra}]'")


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
        lines.append("More than one ONNX Runtime is installed; they overwrite each other. Keep one of them.")
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
