"""What runs a graph: one module per backend, each imported only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from seas_runtime.errors import UserError
from seas_runtime.manifest import GraphSpec, TensorSpec
from seas_runtime.schedule import Array

Value = Any
"""A tensor where a backend keeps it: a numpy array on the CPU, a device buffer elsewhere."""

_MODULES = {"cpu": "seas_runtime.backends.onnxruntime_cpu"}
_NOT_YET = ("openvino", "cuda", "rtx", "tensorrt")


class Session(Protocol):
    """A loaded graph."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, Value], outputs: Sequence[str]) -> dict[str, Value]:
        """Run the graph once; return the outputs asked for. One session's values feed another's."""
        ...


class Backend(Protocol):
    """A way to run graphs on one device."""

    name: str

    def load(self, file: Path) -> Session:
        """Load the graph in `file`; UserError if the file is broken or needs a newer backend."""
        ...

    def upload(self, array: Array) -> Value:
        """Put an array where sessions read it."""
        ...

    def download(self, value: Value) -> Array:
        """Return what a session made as an array of the host."""
        ...


def open_backend(name: str, threads: int | None = None) -> Backend:
    """Return the backend called `name`.

    `threads` is how many CPU threads a graph may use: all physical cores by default. Raises UserError for a
    backend that is unknown, not built yet, or not installed, saying what to install.
    """
    if name not in _MODULES:
        known = ", ".join(_MODULES)
        if name in _NOT_YET:
            raise UserError(f"backend {name!r}: this version does not have it yet; expected one of {known}")
        raise UserError(f"backend {name!r}: expected one of {known}")
    if threads is not None and (isinstance(threads, bool) or not 1 <= threads <= 1024):
        raise UserError(f"threads: expected a whole number from 1 to 1024, found {threads!r}")
    module = importlib.import_module(_MODULES[name])
    backend: Backend = module.open_backend(threads)
    return backend


def check_signature(file: Path, spec: GraphSpec, session: Session) -> None:
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


def _same_shape(expected: tuple[int | str, ...], found: tuple[int | str, ...]) -> bool:
    if len(expected) != len(found):
        return False
    pairs = zip(expected, found, strict=True)
    return all(want == size or (isinstance(want, str) and isinstance(size, str)) for want, size in pairs)
