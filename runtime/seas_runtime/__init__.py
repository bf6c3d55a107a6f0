"""Generates image/mask pairs from a bundle, without PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seas_runtime.errors import CheckFailed, UserError

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle
    from seas_runtime.dataset.formats.convert import convert_dataset
    from seas_runtime.dataset.writing import DatasetRequest, DatasetSummary, write_dataset
    from seas_runtime.generation.generator import Generator
    from seas_runtime.generation.records import GeneratedPair, PairRecord
    from seas_runtime.methods.request import Placing, Request, Sampling
    from seas_runtime.placement.options import PlacementOptions

__all__ = [
    "Bundle",
    "CheckFailed",
    "DatasetRequest",
    "DatasetSummary",
    "GeneratedPair",
    "Generator",
    "PairRecord",
    "PlacementOptions",
    "Placing",
    "Request",
    "Sampling",
    "UserError",
    "convert_dataset",
    "write_dataset",
]

_LAZY = {  # imported when first used, so that importing the package costs nothing
    "Bundle": "bundle.reading",
    "DatasetRequest": "dataset.writing",
    "DatasetSummary": "dataset.writing",
    "GeneratedPair": "generation.records",
    "Generator": "generation.generator",
    "PairRecord": "generation.records",
    "PlacementOptions": "placement.options",
    "Placing": "methods.request",
    "Request": "methods.request",
    "Sampling": "methods.request",
    "convert_dataset": "dataset.formats.convert",
    "write_dataset": "dataset.writing",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
