"""A method of training is one module and one line in the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seas_runtime.errors import UserError
from seas_train import load_checkpoint, train_product
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.methods.table import METHODS, find_method


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", "tests.methods.toy_train")


def train(base: Base, product: Product, folder: Path, **options: object) -> Path:
    config = find_method("toy").defaults(base, product, None).updated(options)
    return train_product(product, base, folder / "checkpoint", folder / "run", config, method="toy")


def test_a_second_method_trains_and_its_artifact_is_loaded(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(train(tiny_base, tiny_product, tmp_path))
    assert (checkpoint.method, checkpoint.defects) == ("toy", ("dark_line", "spot"))
    assert set(checkpoint.artifacts) == {"mean"}
    assert torch.equal(checkpoint.artifacts["mean"], 2 * checkpoint.references.mean(0))
    assert checkpoint.meta["training"] == {"scale": 2}
    assert checkpoint.context(checkpoint.prompts["spot"]).shape == (1, 16, 16)


def test_its_own_checks_are_asked(tiny_base: Base, tiny_product: Product, tmp_path: Path) -> None:
    other = replace(tiny_base, geometry=replace(tiny_base.geometry, latent_channels=16))
    with pytest.raises(UserError, match="the toy expects 4 latent channels"):
        train(other, tiny_product, tmp_path)
    with pytest.raises(UserError, match="scale: expected more than 0, found -1"):
        train(tiny_base, tiny_product, tmp_path, scale=-1)
    folder = train(tiny_base, tiny_product, tmp_path)
    save_file({"mean": torch.zeros(1)}, folder / "mean" / "mean.safetensors")
    with pytest.raises(UserError, match="its mean has another shape"):
        load_checkpoint(folder)


def test_an_unknown_method_is_refused(tiny_base: Base, tiny_product: Product, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"method: expected seas \| .*toy, found 'magic'"):
        train_product(tiny_product, tiny_base, tmp_path / "c", tmp_path / "r", None, method="magic")
