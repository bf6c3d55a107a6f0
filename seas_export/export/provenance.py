"""Where a bundle comes from, and what its pictures inherit."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from seas_runtime.manifest.types import Licence

_PACKAGES = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "polygraphy", "numpy")


def provenance(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what made a bundle. No times or paths: the same export is the same file."""
    from seas_export.version import version

    return {
        "checkpoint": meta["fingerprint"],
        "base": dict(meta["base"]),
        "data_fingerprint": meta["data_fingerprint"],
        "layout": meta["layout"],
        "normals": meta["normals"],
        "shots": dict(meta["shots"]),
        "training": dict(meta["training"]),
        "seas_export": version(),
        # Asked of the modules: ONNX Runtime's comes in distributions of several names.
        "packages": {name: importlib.import_module(name).__version__ for name in _PACKAGES},
    }


def licences(meta: Mapping[str, Any]) -> tuple[Licence, ...]:
    """Return the licences that generated pairs inherit: the base's."""
    base = meta["base"]
    return (
        Licence(str(base["licence"]), f"the weights of base {base['name']}, and what is generated with them"),
    )
