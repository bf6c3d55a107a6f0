"""A tiny base and a tiny product for the tests that only read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seas_train.bases.base import Base, load_base
from seas_train.data import Product, load_product
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.products import write_tiny_product


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The models are tiny: more threads only cost."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base's folder that no test may change."""
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def tiny_base(tiny_base_path: Path) -> Base:
    """A tiny base that no test may change."""
    return load_base(tiny_base_path)


@pytest.fixture(scope="session")
def tiny_product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Plates with two defects, two training pairs each, and four normals."""
    return load_product(write_tiny_product(tmp_path_factory.mktemp("products") / "plate"), size=IMAGE_SIZE)
