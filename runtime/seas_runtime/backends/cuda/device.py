"""The GPU of this machine, asked of the driver itself: Jetsons have no nvidia-smi that answers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_COMPUTE_MAJOR, _COMPUTE_MINOR, _INTEGRATED = 75, 76, 18  # CUdevice_attribute


@dataclass(frozen=True)
class CudaDevice:
    """A GPU. `integrated` ones share the host's memory; memory in bytes, `free` None where not asked."""

    name: str
    compute_capability: str
    integrated: bool
    memory: int
    free: int | None = None

    def engine_device(self, target: str) -> str:
        """Return how engines of a target name what they run on.

        RTX engines run on every GPU of a compute capability, TensorRT's only on the model that built them.
        """
        return self.compute_capability if target == "rtx" else f"{self.compute_capability} {self.name}"


def find_cuda_device(index: int = 0, *, free: bool = False) -> CudaDevice | None:
    """Return GPU `index`, or None where there is no driver or no such GPU.

    `free` asks how much of its memory is free, which opens a context on it for a moment.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    if cuda.cuInit(0):
        return None
    device = ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), index):
        return None
    name = ctypes.create_string_buffer(256)
    total = ctypes.c_size_t()
    if cuda.cuDeviceGetName(name, 256, device) or cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device):
        return None

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        return value.value

    capability = f"{attribute(_COMPUTE_MAJOR)}.{attribute(_COMPUTE_MINOR)}"
    return CudaDevice(
        name.value.decode("utf-8", "replace"),
        capability,
        bool(attribute(_INTEGRATED)),
        total.value,
        _free_memory(cuda, device) if free else None,
    )


def count_cuda_devices() -> int:
    """Return how many GPUs this process may use; 0 where there is no driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return 0 if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) else count.value


def _free_memory(cuda: Any, device: ctypes.c_int) -> int | None:
    """Return the free bytes, as seen from the device's primary context."""
    context = ctypes.c_void_p()
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return None
    try:
        available, total = ctypes.c_size_t(), ctypes.c_size_t()
        steps: tuple[Callable[[], int], ...] = (
            lambda: int(cuda.cuCtxPushCurrent_v2(context)),
            lambda: int(cuda.cuMemGetInfo_v2(ctypes.byref(available), ctypes.byref(total))),
            lambda: int(cuda.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))),
        )
        return None if any(step() for step in steps) else available.value
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)
