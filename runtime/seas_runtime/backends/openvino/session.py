"""A graph on OpenVINO: its tensors, and a request for every batch size that it was compiled for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from seas_runtime.backends.contract import Call, first_line
from seas_runtime.backends.host import HostTensor, run_failure
from seas_runtime.backends.openvino.cache import Signature
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import BATCH, GraphSpec, Shape


class OpenVinoTensor(HostTensor):
    """A place that OpenVINO reads and writes without a copy; where its size is known its memory stays."""

    __slots__ = ("_tensor",)

    def __init__(self, shape: Shape, dtype: str) -> None:
        super().__init__(shape, dtype)
        self._tensor: Any = None
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) == len(shape):
            self.hold(np.zeros(sizes, dtype))

    def hold(self, array: Array) -> None:
        """Make `array` the place's memory."""
        import openvino

        self.array = array
        self._tensor = openvino.Tensor(array, shared_memory=True)

    @property
    def tensor(self) -> Any:
        """The memory as OpenVINO's tensor; None where no array is held yet."""
        return self._tensor


class OpenVinoSession:
    """A graph, compiled for any batch size or for each that it is bound to."""

    def __init__(
        self,
        file: Path,
        signature: Signature,
        compiled: Callable[[int | None], tuple[Any, Any]],
        spec: GraphSpec | None,
    ) -> None:
        """`compiled` gives the graph for a batch size, which `spec` finds in feeds; or for any without it.

        And with it what must be held as long as it runs.
        """
        self._file = file
        self.inputs, self.outputs = signature
        self._compiled, self._spec = compiled, spec
        self._requests: WeakValueDictionary[int | None, _Request] = WeakValueDictionary()

    def takes(self, batch: int) -> bool:
        """Take any."""
        return True

    def bind(self, feeds: Mapping[str, OpenVinoTensor], outputs: Mapping[str, OpenVinoTensor]) -> Call:
        """Return the call; it raises CheckFailed, naming the graph, if the graph fails.

        What was compiled for a batch size is held by its calls, and goes with the last of them.
        """
        batch = None
        if self._spec is not None:
            batch = self._spec.sizes({name: place.shape for name, place in feeds.items()})[BATCH]
        request = self._requests.get(batch)
        if request is None:
            request = self._requests[batch] = _Request(*self._compiled(batch), self._file)
        return request.call(feeds, outputs)


class _Request:
    """A compiled model's one request."""

    def __init__(self, compiled: Any, held: Any, file: Path) -> None:
        self._file, self._held = file, held
        self._request = compiled.create_infer_request()
        # With a size of one, compiling drops nodes that changed nothing: their names become the port's too.
        ports = (*compiled.inputs, *compiled.outputs)
        self._ports = {name: port for port in ports for name in port.get_names()}
        # The graph writes all its outputs: those that nobody wants, to memory that belongs to no place.
        self._spare = [(port, _empty_tensor(port)) for port in compiled.outputs]

    def call(self, feeds: Mapping[str, OpenVinoTensor], outputs: Mapping[str, OpenVinoTensor]) -> Call:
        ports = self._ports
        given = [(ports[name], place) for name, place in feeds.items()]
        wanted = [(ports[name], place) for name, place in outputs.items()]
        unwanted = [(port, spare) for port, spare in self._spare if port.get_names().isdisjoint(outputs)]
        shared = [(port, place) for port, place in wanted if place.tensor is not None]
        copied = [(port, place) for port, place in wanted if place.tensor is None]

        def call() -> None:
            request = self._request
            try:
                for port, place in given:
                    request.set_tensor(port, place.tensor)
                for port, place in shared:
                    request.set_tensor(port, place.tensor)
                for port, tensor in unwanted:
                    request.set_tensor(port, tensor)
                request.infer()
            except Exception as error:  # OpenVINO raises RuntimeError and its own
                raise run_failure(str(self._file), first_line(error)) from error
            for port, place in copied:
                place.hold(request.get_tensor(port).data.copy())

        return call


def _empty_tensor(port: Any) -> Any:
    """Return a tensor that OpenVINO gives the size that it needs."""
    import openvino

    sizes = [0 if size.is_dynamic else size.get_length() for size in port.get_partial_shape()]
    return openvino.Tensor(port.get_element_type(), openvino.Shape(sizes))
