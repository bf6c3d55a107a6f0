"""The toy method: one file a package, and one line in each table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seas_export.methods.table import METHODS as EXPORTED
from seas_runtime.bundle.reading import Bundle
from seas_runtime.methods.table import METHODS as GENERATED
from seas_train.methods.table import METHODS as TRAINED


@pytest.fixture(scope="session", autouse=True)
def toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRAINED, "toy", "tests.methods.toy_train")
        patch.setitem(EXPORTED, "toy", "tests.methods.toy_export")
        patch.setitem(GENERATED, "toy", "tests.methods.toy_runtime")
        yield


@pytest.fixture(scope="session")
def checkpoint(toy: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from seas_train import train_product
    from seas_train.bases.base import load_base
    from seas_train.data import load_product
    from seas_train.methods.table import find_method
    from tests.bases import IMAGE_SIZE, write_tiny_base
    from tests.products import write_tiny_product

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("toy")
    base = load_base(write_tiny_base(folder / "base"))
    product = load_product(write_tiny_product(folder / "plate"), size=IMAGE_SIZE)
    config = find_method("toy").defaults(base, product, None)
    return train_product(product, base, folder / "checkpoint", folder / "run", config, method="toy")


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from seas_export.export import export_bundle

    folder = tmp_path_factory.mktemp("toy_bundle") / "bundle"
    return Bundle.read(export_bundle(checkpoint, folder, steps=5, parity=False).bundle)
