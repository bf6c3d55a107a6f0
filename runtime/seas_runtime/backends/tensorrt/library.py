"""The one place that imports TensorRT or TensorRT-RTX: two libraries with one interface."""

from __future__ import annotations

import importlib
import os
import sys
from importlib import metadata
from types import ModuleType

from seas_runtime.errors import UserError
from seas_runtime.installing import hidden_package

MODULES = {"tensorrt": ("tensorrt",), "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""By target, the module's name and, where wheels bring it under another, that one."""
_DISTRIBUTIONS = {
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
    "rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
}
_INSTALL = {
    "tensorrt": "install that of your CUDA: pip install tensorrt; on a Jetson it comes with JetPack",
    "rtx": "pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings",
}


def tensorrt_version(target: str) -> str | None:
    """Return the installed version for `tensorrt` or `rtx` without importing it, or None."""
    for name in _DISTRIBUTIONS[target]:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def load_tensorrt(target: str) -> ModuleType:
    """Import the library for `tensorrt` or `rtx`; UserError, saying what to install, where it is missing.

    Polygraphy asks an environment variable which of the two it drives, and wants RTX under the name
    `tensorrt_rtx`: both are set here, so import Polygraphy's TensorRT modules after this, and drive only
    one of the two in a process.
    """
    names = MODULES[target]
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if target == "rtx" else "0"
    reason = ""
    for name in names:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library behind it is missing
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            continue
        sys.modules.setdefault(names[0], module)
        return module
    way_on = hidden_package(names[0]) or _INSTALL[target]
    raise UserError(f"target {target}: {names[0]} cannot be imported ({reason}); {way_on}")
