"""How many cores this process may really use."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path


def usable_cores() -> int:
    """Return the physical cores, or fewer where affinity or a container's quota allows fewer; at least 1.

    Matrix products gain nothing from a second thread on a core.
    """
    limits = [physical_cores(Path("/proc/cpuinfo")), os.cpu_count() or 1]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    quota = container_quota(Path("/sys/fs/cgroup"))
    if quota is not None:
        limits.append(quota)
    return max(1, min(limits))


def physical_cores(cpuinfo: Path) -> int:
    """Return the distinct (socket, core) pairs in Linux's `cpuinfo`, or the logical cores."""
    cores: set[tuple[str, str]] = set()
    socket = ""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "physical id":
                socket = value.strip()
            elif key.strip() == "core id":
                cores.add((socket, value.strip()))
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
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "flags":
                return frozenset(value.split())
    return frozenset()
