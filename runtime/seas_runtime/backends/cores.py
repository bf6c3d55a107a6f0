"""What the system says of this machine and process, read without a library: cores, flags, peak memory."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def usable_cores() -> int:
    """Return the physical cores, or fewer where affinity or a container's quota allows fewer; at least 1.

    Matrix products gain nothing from a second thread on a core.
    """
    quota = container_quota(Path("/sys/fs/cgroup"))
    return max(1, min(physical_cores(CPUINFO), allowed_cores(), quota or sys.maxsize))


def allowed_cores() -> int:
    """Return the logical cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpuinfo_entries(cpuinfo: Path) -> Iterator[tuple[str, str]]:
    """Yield key and value of each line of Linux's `cpuinfo`; nothing elsewhere."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            yield key.strip(), value.strip()


def physical_cores(cpuinfo: Path) -> int:
    """Return the distinct (socket, core) pairs in Linux's `cpuinfo`, or the logical cores."""
    cores: set[tuple[str, str]] = set()
    socket = ""
    for key, value in cpuinfo_entries(cpuinfo):
        if key == "physical id":
            socket = value
        elif key == "core id":
            cores.add((socket, value))
    return len(cores) or os.cpu_count() or 1


def container_quota(cgroup: Path) -> int | None:
    """Return the cores that a cgroup's quota amounts to, rounded up, or None where there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        quota, period = (cgroup / "cpu.max").read_text().split()[:2]  # version 2
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    with contextlib.suppress(OSError, ValueError):
        limit = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())  # version 1
        period_us = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
        return max(1, math.ceil(limit / period_us)) if limit > 0 else None
    return None


def processor_flags(cpuinfo: Path) -> frozenset[str]:
    """Return what the first processor in Linux's `cpuinfo` can do: `avx512_bf16`; nothing elsewhere."""
    flags = (value for key, value in cpuinfo_entries(cpuinfo) if key == "flags")
    return frozenset(next(flags, "").split())


def peak_memory() -> int | None:
    """Return the most memory that this process has held so far, in bytes; None where it cannot be told."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
