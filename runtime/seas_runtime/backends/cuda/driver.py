"""The few calls of CUDA that the TensorRT backends make, through cuda-python."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.backends.contract import DeviceMemoryError, first_line
from seas_runtime.backends.cuda.device import CudaDevice, find_cuda_device
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.installing import install
from seas_runtime.manifest.schedule import Array


class CudaDriver:
    """One GPU with one stream, by cuda-python's runtime API: what is queued runs in its order."""

    def __init__(self, cuda: Any, device: CudaDevice, index: int = 0) -> None:
        self._cuda = cuda
        self._events: list[Any] = []
        self._capturing = False
        self._to_release: list[int] = []
        self._call("cudaSetDevice", index)
        self.device = device
        stream = self._call("cudaStreamCreateWithFlags", cuda.cudaStreamNonBlocking)
        self._stream = stream
        self.stream = int(stream)

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes, zeroed; DeviceMemoryError where there are not as many."""
        address = int(self._call("cudaMalloc", max(size, 1)))
        self._call("cudaMemsetAsync", address, 0, max(size, 1), self._stream)
        return address

    def release(self, address: int) -> None:
        """Free what `allocate` gave; at the process's end the driver may be gone already.

        Freeing would end a capture, in which garbage may be collected: it is put off until then.
        """
        if self._capturing:
            self._to_release.append(address)
        else:
            self._cuda.cudaFree(address)

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """Return `size` bytes of page-locked host memory, which the device reads and writes by itself."""
        address = int(self._call("cudaMallocHost", max(size, 1)))
        memory = (ctypes.c_uint8 * max(size, 1)).from_address(address)
        return np.ctypeslib.as_array(memory)[:size]

    def unpin(self, array: Array) -> None:
        """Free what `pinned` gave; at the process's end the driver may be gone already."""
        self._cuda.cudaFreeHost(array.ctypes.data)

    def copy_in(self, address: int, array: Array) -> None:
        """Queue a copy from pinned memory."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self._stream)

    def copy_out(self, array: Array, address: int) -> None:
        """Queue a copy to pinned memory."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self._stream)

    def wait(self) -> None:
        """Wait for all that is queued; CheckFailed if any of it failed."""
        self._call("cudaStreamSynchronize", self._stream)

    def begin_capture(self) -> None:
        """Capture this thread's work on the stream from here on, instead of running it."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        self._capturing = True

    def end_capture(self) -> Any:
        """Return the captured graph, ready to launch; CheckFailed if the capture failed."""
        self._capturing = False
        graph = self._call("cudaStreamEndCapture", self._stream)
        while self._to_release:
            self.release(self._to_release.pop())
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, captured: Any) -> None:
        """Queue a captured graph."""
        self._call("cudaGraphLaunch", captured, self._stream)

    def discard(self, captured: Any) -> None:
        """Free a captured graph."""
        self._cuda.cudaGraphExecDestroy(captured)

    def mark(self) -> Any:
        """Queue an event; those that `seconds` has read are used again."""
        event = self._events.pop() if self._events else self._call("cudaEventCreate")
        self._call("cudaEventRecord", event, self._stream)
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the seconds between; `begin` is free for another mark then."""
        milliseconds = float(self._call("cudaEventElapsedTime", begin, end))
        self._events.append(begin)
        return milliseconds / 1000

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the runtime API; its status becomes an exception."""
        status, *results = getattr(self._cuda, name)(*arguments)
        errors = self._cuda.cudaError_t
        if status != errors.cudaSuccess:
            words = str(getattr(status, "name", status))
            if status == errors.cudaErrorMemoryAllocation:
                raise DeviceMemoryError(
                    f"GPU: out of memory ({name}); use a smaller --batch, or free memory on the GPU"
                )
            raise CheckFailed(f"GPU: {name} failed: {words}")
        return results[0] if len(results) == 1 else tuple(results)


def open_driver() -> CudaDriver:
    """Return the driver of the first GPU; UserError where cuda-python or a GPU is missing."""
    cuda = _import_runtime()
    device = find_cuda_device()
    if device is None:
        raise UserError(
            "GPU: expected an NVIDIA GPU with its driver, found none; choose another --backend, or see "
            "`seas-export doctor`"
        )
    try:
        return CudaDriver(cuda, device)
    except (CheckFailed, RuntimeError) as error:  # the latter from cuda-python itself
        raise UserError(
            f"GPU: {device.name} is there, but CUDA does not start on it ({first_line(error)}); update its "
            "driver or cuda-python, or choose another --backend"
        ) from error


def _import_runtime() -> Any:
    """Return cuda-python's runtime module under its new or its old name (12.5 and earlier)."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        try:
            from cuda import cudart as runtime
        except ImportError as error:
            raise UserError(
                f"backend: cuda-python cannot be imported ({first_line(error)}); install it: "
                f"{install('tensorrt')}; or [rtx], [jetson]"
            ) from error
    return runtime
