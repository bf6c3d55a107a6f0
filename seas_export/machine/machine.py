"""What this machine is: processor, memory, GPUs, disk. Nothing heavy is imported to find out."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


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
        memory = f", {self.memory / 2**30:.1f} GiB memory" if self.memory else ""
        gpus = "".join(f", {gpu.name}" for gpu in self.gpus)
        return f"{self.processor}, {self.usable_cores} of {self.cores} cores{memory}{gpus}"


def describe_machine(folder: Path = Path()) -> Machine:
    """Look at this machine; `disk_free` is that of `folder`'s file system."""
    memory, available = _memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        usable_cores=_usable_cores(),
        memory=memory,
        memory_available=available,
        disk_free=_disk_free(folder),
        python=platform.python_version(),
        executable=sys.executable,
        gpus=_gpus(),
        board=_board(),
    )


def peak_memory() -> int | None:
    """The most memory this process has held so far, in bytes; None where it cannot be told (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> tuple[int | None, int | None]:
    """Total and available memory in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        sizes = {
            name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
        }
        return sizes.get("MemTotal"), sizes.get("MemAvailable")
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (ValueError, OSError, AttributeError):
        return None, None


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
