"""Lets segmentation-models-pytorch be imported beside a PyTorch without CUDA.

It imports timm, and that torchvision, whose wheels on PyPI want CUDA's libraries. On a processor their Python
part works without them, once the two operators are declared that it describes while it is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import torch

from seas_runtime.errors import UserError
from seas_runtime.installing.advice import install

EXTRA = "prove"
_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_DECLARED: list[torch.library.Library] = []
"""What is declared lasts as long as its library."""


def import_models() -> Any:
    """Return the module `segmentation_models_pytorch`; UserError where it is not installed."""
    try:
        declare_vision_ops()
        import segmentation_models_pytorch as models
    except ImportError as error:
        raise not_installed("segmentation-models-pytorch", error) from error
    return models


def not_installed(package: str, error: ImportError) -> UserError:
    """Return the error that says how a package of the extra is installed."""
    words = " ".join(str(error).split())
    return UserError(f"prove: needs {package}, which cannot be imported here ({words}): {install(EXTRA)}")


def declare_vision_ops() -> None:
    """Declare torchvision's operators where its library cannot be loaded; nothing where it can."""
    if "torchvision" in sys.modules or _DECLARED:
        return
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return  # whoever needs it says so
    for file in Path(found.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define(f"nms{_BOXES}")
    library.define(f"qnms{_BOXES}")
    _DECLARED.append(library)
