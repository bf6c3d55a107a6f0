"""Imports OpenVINO in a fraction of its time: without what writes and converts models."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

_CONVERTER = "openvino.tools.ovc"
_OPSET = re.compile(r"openvino\.(opset\d+)\Z")
_ONE_AT_A_TIME = threading.Lock()


def import_openvino() -> Any:
    """Return OpenVINO, imported without its model converter and its operator sets, ready for threads.

    Its binding looks up NumPy with the first array that it makes or takes. Two threads that do so at once
    wait for ever: one has the interpreter and wants the result, the other makes it and wants the interpreter
    (a C++ static within pybind11, seen in OpenVINO 2026.4.1). So the first array is made here, by one thread.
    """
    package = _imported()
    with _ONE_AT_A_TIME:
        package.Tensor(np.zeros(1, np.float32))
    return package


def _imported() -> Any:
    """Import it, if nobody did.

    The package does without the converter where it cannot be imported, which `None` among the modules says;
    who wants it in this process can import it by its own name, `openvino.tools.ovc`. The operator sets
    (`openvino.opset1` and so on) are imported when somebody asks for them.
    """
    if "openvino" in sys.modules or _CONVERTER in sys.modules:
        return importlib.import_module("openvino")
    empty = _EmptyOperatorSets()
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    sys.meta_path.insert(0, empty)
    try:
        package = importlib.import_module("openvino")
    finally:
        sys.meta_path.remove(empty)
        del sys.modules[_CONVERTER]
        for name in empty.made:
            sys.modules.pop(name, None)
    for name in empty.made:
        vars(package).pop(name.partition(".")[2], None)
    if empty.made and "__getattr__" not in vars(package):
        vars(package)["__getattr__"] = _operator_set
    return package


def _operator_set(name: str) -> ModuleType:
    """Import an operator set that is asked for as an attribute of the package."""
    if _OPSET.match(f"openvino.{name}"):
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(f"openvino.{name}")
    raise AttributeError(f"module 'openvino' has no attribute {name!r}")


class _EmptyOperatorSets(MetaPathFinder, Loader):
    """Finds nothing in operator sets; `made` names those that were asked for."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Take operator sets, and leave the rest to others."""
        if not _OPSET.match(fullname):
            return None
        self.made.append(fullname)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return None: an ordinary module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty."""
