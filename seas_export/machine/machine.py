"""What this machine is: processor, memory, GPUs, disk. Nothing heavy is imported to find out."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seas_runtime.backends.cores import CPUINFO, allowed_cores, cpuinfo_entries
from seas_runtime.units import gib


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as nvidia-smi names it; memory in MiB."""

    name: str
    memory_mib: int | None
    driver: str
    compute_capability: str


@dataclass(frozen=True)
class Machine:
    """The machine; memory and disk in bytes, None where it cannot be told."""

    system: str
    processor: str
    cores: int
    usable_cores: int
    memory: int | None
    memory_available: int | None
    disk_free: int | None
    python: str
    executable: str
    gpus: tuple[Gpu, ...]
    board: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def in_words(self) -> str:
        """One line: processor, cores, memory, GPUs."""
        memory = f", {gib(self.memory)} memory" if self.memory else ""
        gpus = "".join(f", {gpu.name}" for gpu in self.gpus)
        return f"{self.processor}, {self.usable_cores} of {self.cores} cores{memory}{gpus}"


def describe_machine(folder: Path = Path()) -> Machine:
    """Look at this machine; `disk_free` is that of `folder`'s file system."""
    memory, available = _memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        usable_cores=allowed_cores(),
        memory=memory,
        memory_available=available,
        disk_free=_disk_free(folder),
        python=platform.python_version(),
        executable=sys.executable,
        gpus=_gpus(),
        board=_board(),
    )


def _processor() -> str:
    """The processor's name."""
    names = (value for key, value in cpuinfo_entries(CPUINFO) if key.lower() in ("model name", "hardware"))
    return next(names, "") or platform.processor() or platform.machine()


def _memory() -> tuple[int | None, int | None]:
    """Total and available memory in bytes."""
    try:
        import psutil
    except ImportError:  # at the edge, where no extra brings it
        with contextlib.suppress(ValueError, OSError, AttributeError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
        return None, None
    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _disk_free(folder: Path) -> int | None:
    """Free bytes where `folder` is, or would be."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that nvidia-smi lists; none where it is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        answer = subprocess.run(
            [
                tool,
                "--query-gpu=name,memory.total,driver_version,compute_cap",
                "--format=csv,noheader,nounits",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = []
    for line in answer.splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == 4:
            found.append(Gpu(words[0], int(words[1]) if words[1].isdigit() else None, words[2], words[3]))
    return tuple(found)


def _board() -> str | None:
    """A Jetson's or other board's name, where the device tree gives one."""
    try:
        name = Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return name.rstrip("\0 \n") or None
