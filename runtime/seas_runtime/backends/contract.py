"""The interface of backends, which run graphs; each is a module, imported only when asked for.

A backend keeps tensors where its graphs read them. A plan allocates all that a batch needs once, binds every
call to it, and then runs the same sequences of calls batch after batch: nothing is copied to the host between
two calls, and a backend that can capture a sequence (a CUDA graph) launches it whole.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import GraphSpec, Shape, TensorSpec

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle

V = TypeVar("V")
"""A place for a tensor where a backend keeps it: host memory on the CPU, a device buffer elsewhere."""
_V = TypeVar("_V", contravariant=True)
Call = Callable[[], None]
"""Runs a graph once on the values that it was bound to; a device only queues it."""
Watch = Callable[[], None]
"""Called between calls where the host waits for each; may raise to stop the work."""
Sequenced = Callable[[Watch], None]
"""Runs a sequence of calls."""

AUTO = "auto"
_MODULES = {
    "cpu": "seas_runtime.backends.onnxruntime.cpu",
    "openvino": "seas_runtime.backends.openvino.cpu",
    "cuda": "seas_runtime.backends.onnxruntime.cuda",
    "tensorrt": "seas_runtime.backends.tensorrt.backend",
    "rtx": "seas_runtime.backends.tensorrt.backend",
}
BACKENDS = tuple(_MODULES)


class DeviceMemoryError(CheckFailed):
    """A device has too little memory left; the loop tries once more with less."""


class Session(Protocol[_V]):
    """A loaded graph."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def takes(self, batch: int) -> bool:
        """Whether it can run a batch of this size: engines are built for some."""
        ...

    def bind(self, feeds: Mapping[str, _V], outputs: Mapping[str, _V]) -> Call:
        """Return a call that reads `feeds` and writes `outputs`: the graph's outputs that are wanted."""
        ...


class Backend(Protocol[V]):
    """A way to run graphs on one device."""

    name: str
    joins: bool  # whether it can give one graph several others' outputs as one batch
    loads_at_once: bool  # whether graphs may be loaded in several threads

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return what the bytes of a bundle's pairs depend on besides it: version, device, precision."""
        ...

    def load(self, bundle: Bundle, graph: str) -> Session[V]:
        """Load a graph of a bundle; UserError if its file is broken or needs a newer backend."""
        ...

    def most_at_once(self, pixels: int) -> int | None:
        """Return how many images of that many pixels run together at most, None for any number.

        Larger batches run in turn.
        """
        ...

    def allocate(self, shape: Shape, dtype: str) -> V:
        """Return a place for a tensor; UserError for dynamic sizes on a GPU."""
        ...

    def part(self, value: V, index: int, count: int) -> V:
        """Return the `index`-th of `count` equal parts along the first axis; only where `joins`."""
        ...

    def write(self, value: V, array: Array) -> None:
        """Put an array into a place, before any call that comes after it."""
        ...

    def read(self, values: Sequence[V]) -> list[Array]:
        """Wait for the calls so far; return host arrays of their own."""
        ...

    def sequence(self, calls: Sequence[Call]) -> Sequenced:
        """Return what runs the calls in their order."""
        ...

    def mark(self) -> Any:
        """Note a moment between two calls."""
        ...

    def seconds(self, begin: Any, end: Any) -> float:
        """Return the seconds between two marks; asked after `read`."""
        ...

    def settle(self) -> None:
        """Keep for the next start what the first run of new shapes has compiled."""
        ...


def open_backend(name: str, threads: int | None = None) -> Backend[Any]:
    """Return the backend called `name`, or `name:variant`: `openvino:fp32`.

    `threads` is how many CPU threads a graph may use: all physical cores by default. Raises UserError for a
    backend that is unknown or not installed, saying what to install.
    """
    kind, _, variant = name.partition(":")
    if kind not in _MODULES:
        raise UserError(f"backend {name!r}: expected one of {', '.join((*_MODULES, AUTO))}")
    if threads is not None and (isinstance(threads, bool) or not 1 <= threads <= 1024):
        raise UserError(f"threads: expected a whole number from 1 to 1024, found {threads!r}")
    module = importlib.import_module(_MODULES[kind])
    if variant and variant not in module.VARIANTS:
        known = ", ".join((kind, *(f"{kind}:{item}" for item in module.VARIANTS)))
        raise UserError(f"backend {name!r}: expected one of {known}")
    backend: Backend[Any] = module.open_backend(kind, variant, threads)
    return backend


def check_signature(file: Path, spec: GraphSpec, session: Session[Any]) -> None:
    """Refuse a graph whose real inputs and outputs differ from the manifest's: names, dtypes, fixed sizes.

    A dynamic dimension must be dynamic in both; its name is free.
    """
    for kind, listed, real in (
        ("input", spec.inputs, session.inputs),
        ("output", spec.outputs, session.outputs),
    ):
        expected = {tensor.name: tensor for tensor in listed}
        found = {tensor.name: tensor for tensor in real}
        if set(expected) != set(found):
            raise UserError(
                f"{file}: expected the {kind}s {', '.join(sorted(expected))} as in the manifest, "
                f"found {', '.join(sorted(found))}; export the bundle again"
            )
        for name, want in expected.items():
            have = found[name]
            if want.dtype != have.dtype or not _same_shape(want.shape, have.shape):
                raise UserError(
                    f"{file}: {kind} {name!r}: expected {want.dtype} {list(want.shape)} as in the manifest, "
                    f"found {have.dtype} {list(have.shape)}; export the bundle again"
                )


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, or its class: for a library's many-lined errors."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _same_shape(expected: Shape, found: Shape) -> bool:
    if len(expected) != len(found):
        return False
    pairs = zip(expected, found, strict=True)
    return all(want == size or (isinstance(want, str) and isinstance(size, str)) for want, size in pairs)
