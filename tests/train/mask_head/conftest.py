from __future__ import annotations

from pathlib import Path

import pytest

from seas_train.bases.base import load_base
from seas_train.data import PhotographsConfig, Product, load_product
from seas_train.methods.seas.prompts import FineTuned, Prompts, extend, write_back
from seas_train.sample.write import write_sample
from tests.bases import IMAGE_SIZE


@pytest.fixture(scope="session")
def small_product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """The sample product at the tiny base's size: two training pairs of each defect."""
    folder = write_sample(
        tmp_path_factory.mktemp("products"), size=IMAGE_SIZE, train_good=4, test_good=3, defective=5
    )
    return load_product(folder, PhotographsConfig(shots=2), size=IMAGE_SIZE)


@pytest.fixture(scope="session")
def tuned(tiny_base_path: Path, small_product: Product) -> FineTuned:
    """The tiny base with the product's tokens, as if stage 1 had run."""
    base = load_base(tiny_base_path)
    prompts = Prompts(tuple(defect.name for defect in small_product.defects), anomaly_tokens=2)
    write_back(base.text_encoder, extend(base.tokenizer, base.text_encoder, prompts))
    return FineTuned(models=base, prompts=prompts, fingerprint="stage 1")
