"""A method trained on the tiny base and the tiny product, and its bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seas_train import train_product
from seas_train.bases.base import load_base
from seas_train.data import load_product
from seas_train.methods.table import find_method
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.products import write_tiny_product


def train_tiny(folder: Path, method: str, options: dict[str, Any], pairs: int = 9) -> Path:
    """Write `base`, `plate` and `checkpoint` into a folder; a third of the pairs trains."""
    base = load_base(write_tiny_base(folder / "base"))
    product = load_product(write_tiny_product(folder / "plate", pairs=pairs), size=IMAGE_SIZE)
    config = find_method(method).defaults(base, product, None).updated(options)
    return train_product(
        product, base, folder / "checkpoint", folder / "run", config, method=method, progress=False
    )
