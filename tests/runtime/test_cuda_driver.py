"""The CUDA driver against a runtime API that answers like the real one, on host memory."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seas_runtime.backends.contract import DeviceMemoryError
from seas_runtime.backends.cuda.driver import CudaDriver
from seas_runtime.errors import CheckFailed
from tests.runtime.fake_gpu import DEVICE


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorIllegalAddress = 700


class FakeRuntime:
    """`cuda.bindings.runtime` as far as the driver calls it; `calls` are the names in their order."""

    cudaError_t = Status
    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: dict[str, Status] = {}
        self._memory: dict[int, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            if name in self.fails:
                return (self.fails[name],) if name.endswith("Synchronize") else (self.fails[name], None)
            return (Status.cudaSuccess, *self._answer(name, arguments))

        return call

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if name in ("cudaMalloc", "cudaMallocHost"):
            block = np.full(arguments[0], 255, np.uint8)
            self._memory[block.ctypes.data] = block
            return (block.ctypes.data,)
        if name == "cudaMemsetAsync":
            ctypes.memset(arguments[0], arguments[1], arguments[2])
        elif name == "cudaMemcpyAsync":
            ctypes.memmove(*arguments[:3])
        elif name in ("cudaFree", "cudaFreeHost"):
            del self._memory[arguments[0]]
        elif name == "cudaMemGetInfo":
            return (100, 200)
        elif name == "cudaEventElapsedTime":
            return (1500.0,)
        elif "Create" in name or name in ("cudaStreamEndCapture", "cudaGraphInstantiate"):
            return (len(self.calls),)
        return ()


def test_bytes_go_in_and_out() -> None:
    driver = CudaDriver(FakeRuntime(), DEVICE)
    address = driver.allocate(12)
    host = driver.pinned(12)
    driver.copy_out(host, address)
    assert not host.any()  # memory starts at zero
    host[:] = np.arange(12)
    driver.copy_in(address, host)
    other = driver.pinned(12)
    driver.copy_out(other, address)
    driver.wait()
    assert other.tolist() == list(range(12))


def test_what_fails_is_named() -> None:
    runtime = FakeRuntime()
    driver = CudaDriver(runtime, DEVICE)
    runtime.fails["cudaMalloc"] = Status.cudaErrorMemoryAllocation
    with pytest.raises(DeviceMemoryError, match="use a smaller --batch"):
        driver.allocate(1)
    runtime.fails["cudaStreamSynchronize"] = Status.cudaErrorIllegalAddress
    with pytest.raises(CheckFailed, match="cudaStreamSynchronize failed: cudaErrorIllegalAddress"):
        driver.wait()


def test_nothing_is_freed_inside_a_capture() -> None:
    runtime = FakeRuntime()
    driver = CudaDriver(runtime, DEVICE)
    address = driver.allocate(1)
    driver.begin_capture()
    driver.release(address)
    assert "cudaFree" not in runtime.calls
    captured = driver.end_capture()
    assert runtime.calls[-4:] == [
        "cudaStreamEndCapture",
        "cudaFree",
        "cudaGraphInstantiate",
        "cudaGraphDestroy",
    ]
    driver.launch(captured)
    driver.discard(captured)
    assert runtime.calls[-2:] == ["cudaGraphLaunch", "cudaGraphExecDestroy"]


def test_events_are_used_again() -> None:
    runtime = FakeRuntime()
    driver = CudaDriver(runtime, DEVICE)
    begin, end = driver.mark(), driver.mark()
    assert driver.seconds(begin, end) == 1.5
    assert driver.mark() == begin
    assert runtime.calls.count("cudaEventCreate") == 2
