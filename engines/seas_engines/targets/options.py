"""Options of an engine build, and what follows from the machine: library, devices, timing cache."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from seas_engines.targets.targets import Target, rtx_devices
from seas_runtime.backends.cuda.device import CudaDevice
from seas_runtime.backends.onnxruntime.graph_files import ANY_GPU, CUDA_FORM
from seas_runtime.backends.tensorrt.library import load_tensorrt, tensorrt_version
from seas_runtime.engines.record import BatchRange
from seas_runtime.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineOptions:
    """How engines are built."""

    target: str
    devices: str | None = None
    """For rtx, compute capabilities with commas between; None for the GPU of this machine."""
    precision: str | None = None
    """None for the target's own."""
    batch: BatchRange = field(default_factory=lambda: BatchRange(1, 1, 1))
    """Sizes that the engines take."""
    graphs: tuple[str, ...] = ()
    """Names; empty for those that generation runs."""
    level: int | None = None
    """Builder optimization level, 0 to 5; None for the library's choice."""
    workspace: int | None = None
    """Bytes of device memory for scratch at most."""
    memory: int | None = None
    """Bytes of host memory that a build may take at most."""
    ship: bool = False
    """Whether other machines shall load them from a copy of the bundle."""
    force: bool = False
    """Build also what is current."""
    build: bool = True
    """False to refuse where something is not current."""


def refuse_engine_options(options: EngineOptions, target: Target) -> None:
    """Refuse options of engines for a target that has none."""
    for name, given in (("--device", options.devices), ("--ship-engines", options.ship or None)):
        if given is not None:
            raise UserError(f"{name}: target {target.value} has no engines to build; leave it out")


def refuse_builder_options(options: EngineOptions) -> None:
    """Refuse a compiler's options: engines of cuda are graphs for any GPU, and nothing is compiled."""
    given = {
        "--device": options.devices,
        "--level": options.level,
        "--workspace": options.workspace,
        "--memory": options.memory,
    }
    for name, value in given.items():
        if value is not None:
            raise UserError(
                f"{name}: engines of target cuda are graphs that every NVIDIA GPU runs, and nothing is "
                "compiled for them; leave it out"
            )


def installed_version(target: Target) -> str:
    """Return the library's version; where it cannot be told, importing the library raises the reason.

    Engines of cuda have the version of their own form, which ONNX Runtime of any version reads.
    """
    if target is Target.CUDA:
        return CUDA_FORM
    version = tensorrt_version(target.value)
    return version if version is not None else str(load_tensorrt(target.value).__version__)


def engine_devices(target: Target, options: EngineOptions, here: CudaDevice | None) -> tuple[str, ...]:
    """Return the devices that engines are built for, by the names that `CudaDevice.engine_device` gives."""
    if target is Target.CUDA:
        refuse_builder_options(options)
        return (ANY_GPU,)
    if target is Target.RTX:
        if options.devices is not None:
            return rtx_devices(options.devices)
        if here is None:
            raise UserError(
                "--device: there is no NVIDIA GPU here to build for; give compute capabilities, such as "
                "--device 8.6,8.9,12.0"
            )
        return rtx_devices(here.compute_capability)
    if options.ship:
        raise UserError(
            "--ship-engines: TensorRT engines run only on the device that built them; leave it out and build "
            "them there, or use --target rtx"
        )
    if here is None:
        raise UserError(
            "target tensorrt: engines are built on the device that runs them, and there is no NVIDIA GPU "
            "here; run this command there"
        )
    device = here.engine_device(target.value)
    if options.devices is not None and options.devices not in (here.compute_capability, device):
        raise UserError(
            f"--device {options.devices}: TensorRT builds only for the device that it runs on, {device}; "
            "leave it out, and run the command on the other device"
        )
    return (device,)


def timing_cache_file(target: Target, version: str, devices: tuple[str, ...]) -> str | None:
    """Return the file of the timings that TensorRT measured on this device; RTX measures none to build."""
    if target is Target.RTX:
        return None
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seas-export" / "timings"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        logger.debug("%s cannot be made: no timing cache", folder)
        return None
    name = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in devices[0])
    return str(folder / f"{target.value}-{version}-{name}.cache")
