"""Turns one product's photographs into a fine-tuned checkpoint, with PyTorch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seas_train.bases.base import Base, load_base
    from seas_train.checkpoint import Checkpoint
    from seas_train.methods.seas.config import TrainConfig
    from seas_train.methods.table import load_checkpoint, train_product

# Where each public name lives; imported when first asked for, since PyTorch takes seconds.
_HOMES = {
    "Base": "seas_train.bases.base",
    "Checkpoint": "seas_train.checkpoint",
    "TrainConfig": "seas_train.methods.seas.config",
    "load_base": "seas_train.bases.base",
    "load_checkpoint": "seas_train.methods.table",
    "train_product": "seas_train.methods.table",
}

__all__ = ["Base", "Checkpoint", "TrainConfig", "load_base", "load_checkpoint", "train_product"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
