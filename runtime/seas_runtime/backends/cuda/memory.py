"""Tensors on a GPU, and sequences of calls that are captured into one CUDA graph each."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from seas_runtime.backends.contract import Call, Sequenced, Watch
from seas_runtime.backends.cuda.driver import CudaDriver
from seas_runtime.errors import CheckFailed
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import Shape, known_sizes

logger = logging.getLogger(__name__)


class DeviceTensor:
    """Bytes on the device, with the pinned host memory through which they are written and read."""

    def __init__(
        self,
        driver: CudaDriver,
        shape: tuple[int, ...],
        dtype: str,
        whole: DeviceTensor | None = None,
        at: int = 0,
    ) -> None:
        self._driver = driver
        self.shape, self.dtype = shape, dtype
        self.size = math.prod(shape) * np.dtype(dtype).itemsize
        self._whole = whole  # keeps the memory that this is a part of
        self._host: Array | None = None
        if whole is None:
            self.address = driver.allocate(self.size)
            weakref.finalize(self, driver.release, self.address)
        else:
            self.address = whole.address + at

    @property
    def host(self) -> Array:
        """The pinned memory, made when first asked for."""
        if self._host is None:
            memory = self._driver.pinned(self.size)
            weakref.finalize(self, self._driver.unpin, memory)
            self._host = memory.view(self.dtype).reshape(self.shape)
        return self._host


class DeviceMemory:
    """The half of a Backend that has nothing to do with TensorRT."""

    joins = True
    loads_at_once = False
    threads = None

    def __init__(self, driver: CudaDriver) -> None:
        self.driver = driver

    def most_at_once(self, pixels: int) -> int | None:
        """Return None: engines are built for the batches that fit."""
        return None

    def allocate(self, shape: Shape, dtype: str) -> DeviceTensor:
        """Return memory of the device; UserError for a size that only the graph knows."""
        return DeviceTensor(self.driver, known_sizes(shape), dtype)

    def part(self, value: DeviceTensor, index: int, count: int) -> DeviceTensor:
        """Return one of `count` equal parts along the first axis: the same memory."""
        shape = (value.shape[0] // count, *value.shape[1:])
        return DeviceTensor(self.driver, shape, value.dtype, value, index * (value.size // count))

    def write(self, value: DeviceTensor, array: Array) -> None:
        """Queue a copy to the device."""
        np.copyto(value.host, array.reshape(value.shape))
        self.driver.copy_in(value.address, value.host)

    def read(self, values: Sequence[DeviceTensor]) -> list[Array]:
        """Queue copies from the device, wait for them, and return arrays of their own."""
        for value in values:
            self.driver.copy_out(value.host, value.address)
        self.driver.wait()
        return [value.host.copy() for value in values]

    def sequence(self, calls: Sequence[Call]) -> Sequenced:
        """Return what runs the calls; from the second time on as one CUDA graph."""
        return CapturedSequence(self.driver, calls)

    def mark(self) -> Any:
        """Queue an event."""
        return self.driver.mark()

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the seconds between two events."""
        return self.driver.seconds(begin, end)


class CapturedSequence:
    """Calls in their order: queued one by one the first time, then captured whole, then launched.

    The first time the libraries allocate and compile what they put off, which no capture takes. Where a
    capture fails the calls are queued one by one ever after.
    """

    def __init__(self, driver: CudaDriver, calls: Sequence[Call]) -> None:
        self._driver, self._calls = driver, calls
        self._captured: Any = None
        self._warm = False
        self._captures = True

    def __call__(self, watch: Watch) -> None:
        """Queue the calls."""
        watch()
        if self._warm and self._captures and self._captured is None:
            self._capture()
        if self._captured is not None:
            self._driver.launch(self._captured)
            return
        for call in self._calls:
            call()
        self._warm = True

    def _capture(self) -> None:
        self._driver.begin_capture()
        failure: CheckFailed | None = None
        try:
            for call in self._calls:
                call()
        except CheckFailed as error:
            failure = error
        try:
            captured = self._driver.end_capture()  # also what ends a capture that failed
        except CheckFailed as error:
            failure = failure or error
        else:
            if failure is None:
                self._captured = captured
                weakref.finalize(self, self._driver.discard, captured)
                return
            self._driver.discard(captured)
        self._captures = False
        logger.warning("no CUDA graph: %s", failure)
