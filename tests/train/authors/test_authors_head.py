"""The authors' mask head: their keys, their shapes, their forward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.methods.seas.authors.head import read_authors_head
from seas_train.methods.seas.taps import TapGeometry
from tests.authors import (
    COARSE,
    FINE,
    TAPS,
    VAE_TAPS,
    head_shapes,
    random_features,
    reference_head,
    trained_state,
)

SD14 = TapGeometry(1280, 640, (512, 512, 256))


@pytest.fixture
def state() -> dict[str, Tensor]:
    return trained_state(TAPS, VAE_TAPS, COARSE, FINE)


def save(state: object, folder: Path) -> Path:
    torch.save(state, folder / "rmp")
    return folder / "rmp"


def test_at_the_size_of_sd14_it_is_the_described_forward(tmp_path: Path) -> None:
    """The channels of SD 1.4 on a latent of 8 x 8."""
    state = trained_state((1280, 640), (512, 512, 256))
    head = read_authors_head(save(state, tmp_path), SD14)
    low, mid, vae = random_features((1280, 640), (512, 512, 256), 8)
    expected = reference_head(state, low, mid, vae)
    with torch.no_grad():
        found = head(low, mid, vae)
    assert found.shape == (2, 64, 64)
    assert float((found - expected).abs().max()) <= 1e-5
    assert float(expected.std()) > 0.1  # a map that is the same everywhere would agree by chance


def test_it_has_the_authors_number_of_parameters() -> None:
    shapes = head_shapes(1280, 640, (512, 512, 256))
    trained = {name: shape for name, shape in shapes.items() if ".stored_" not in name}
    assert round(sum(torch.Size(shape).numel() for shape in trained.values()) / 1e6, 2) == 6.45


def test_a_pairs_map_does_not_depend_on_its_neighbours(
    tiny_base: Base, state: dict[str, Tensor], tmp_path: Path
) -> None:
    """The stored statistics are used, where the authors' code takes those of the batch at hand."""
    head = read_authors_head(save(state, tmp_path), TapGeometry.of(tiny_base.unet, tiny_base.vae))
    low, mid, vae = random_features(TAPS, VAE_TAPS, 8)
    with torch.no_grad():
        together, alone = head(low, mid, vae), head(low[:1], mid[:1], [tap[:1] for tap in vae])
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_every_wrong_key_is_named(tiny_base: Base, state: dict[str, Tensor], tmp_path: Path) -> None:
    del state["MRM2.conv6.0.weight"]
    state["out_layer.3.weight"] = torch.zeros(1)
    state["MRM1.conv1.0.weight"] = torch.zeros(64, 5, 1, 1)
    with pytest.raises(UserError) as caught:
        read_authors_head(save(state, tmp_path), TapGeometry.of(tiny_base.unet, tiny_base.vae))
    said = str(caught.value)
    assert "missing MRM2.conv6.0.weight (64, 64, 3, 3)" in said
    assert "extra out_layer.3.weight (1,)" in said
    assert "MRM1.conv1.0.weight: expected (64, 16, 1, 1), found (64, 5, 1, 1)" in said


def test_a_head_of_another_base_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"low_feature_conv.0.weight: expected \(48, 1280, 1, 1\)"):
        read_authors_head(save(state, tmp_path), SD14)


def test_an_empty_state_names_the_authors_keys(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing low_feature_conv.0.weight \(128, 1280, 1, 1\)"):
        read_authors_head(save({"x": torch.zeros(1)}, tmp_path), SD14)
