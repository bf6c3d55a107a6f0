"""A method trained on the tiny base and the tiny product, and its bundle."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from seas_train import train_product
from seas_train.bases.base import load_base
from seas_train.data import load_product
from seas_train.methods.table import find_method
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.products import write_tiny_product

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
)


def build_for_rtx(bundle: Path, folder: Path) -> dict[str, str]:
    """Build the engines that generation needs of a copy of a bundle, without a GPU; return each graph's
    precision.

    For a range of batches: at these tiny widths TensorRT-RTX 1.7.1 fails inside on a step without guidance at
    one pair alone, which it builds at `micro`'s.
    """
    from seas_engines.building.compile import compile_bundle
    from seas_engines.targets.options import EngineOptions
    from seas_runtime.engines.record import BatchRange

    copy = Path(shutil.copytree(bundle, folder / "bundle"))
    options = EngineOptions("rtx", "8.6", batch=BatchRange(1, 2, 4))
    return {engine.graph: engine.precision for engine in compile_bundle(copy, options).engines}


def train_tiny(folder: Path, method: str, options: dict[str, Any], pairs: int = 9) -> Path:
    """Write `base`, `plate` and `checkpoint` into a folder; a third of the pairs trains."""
    base = load_base(write_tiny_base(folder / "base"))
    product = load_product(write_tiny_product(folder / "plate", pairs=pairs), size=IMAGE_SIZE)
    config = find_method(method).defaults(base, product, None).updated(options)
    return train_product(
        product, base, folder / "checkpoint", folder / "run", config, method=method, progress=False
    )
