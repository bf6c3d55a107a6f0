"""Classifiers, and nearest neighbours of normals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from seas_runtime.errors import UserError
from seas_train.data.images import Preprocessing
from seas_train.proof.classifiers.fitting import ClassifierRecipe, whole
from seas_train.proof.classifiers.resnet import ResNet
from seas_train.proof.classifiers.table import make_classifier
from seas_train.proof.crops import Sources
from seas_train.proof.neighbours.coreset import choose_coreset, nearest_distances
from seas_train.proof.neighbours.memory import MemoryRecipe, features_of, pool_of, remember, score_of
from seas_train.proof.pictures import Pictures, Sample


def test_resnet34_is_as_large_as_torchvision_s() -> None:
    """21,797,672 weights with a thousand classes."""
    made = ResNet(1000, (3, 4, 6, 3), 64).eval()
    assert made.blocks(made.stem(torch.zeros(1, 3, 32, 32))).shape == (1, 512, 1, 1)
    assert sum(one.numel() for one in made.parameters()) == 21_797_672


def test_small_resnet_names_as_many_as_it_is_asked_to() -> None:
    assert make_classifier("resnet-small", 5)(torch.zeros(2, 3, 32, 48)).shape == (2, 5)
    with pytest.raises(UserError, match="--classifier: expected one of resnet-small"):
        ClassifierRecipe("resnet-tiny")


def test_a_whole_picture_becomes_a_square(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 30:] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    seen = whole(Pictures(Preprocessing(64)), Sample(tmp_path / "wide.png", ready=True), 32)
    assert seen.shape == (3, 32, 32)
    assert seen[:, :, :12].max() < 0.05
    assert seen[:, :, 20:].min() > 0.95


def test_a_coreset_is_chosen_as_the_definition_says() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(60, 5))
    found = choose_coreset(points, 8, np.random.default_rng(1))
    chosen = [int(np.random.default_rng(1).integers(60))]
    while len(chosen) < 8:
        far = np.linalg.norm(points[:, None] - points[chosen][None], axis=2).min(1)
        chosen.append(int(far.argmax()))
    assert found.tolist() == chosen


def test_a_coreset_has_one_of_each_of_far_apart_clusters() -> None:
    random = np.random.default_rng(0)
    middles = 100 * np.eye(6)
    points = np.concatenate([middle + random.normal(size=(40, 6)) for middle in middles])
    found = choose_coreset(points, 6, random)
    assert sorted(int(place) // 40 for place in found) == list(range(6))
    assert len(choose_coreset(points[:3], 10, random)) == 3


def test_distances_are_those_to_the_nearest() -> None:
    random = np.random.default_rng(0)
    points, bank = random.normal(size=(30, 7)), random.normal(size=(9, 7))
    expected = np.linalg.norm(points[:, None] - bank[None], axis=2).min(1)
    assert nearest_distances(points, bank) == pytest.approx(expected, abs=1e-9)


def colours(pictures: torch.Tensor) -> Sequence[torch.Tensor]:
    """An encoder of two layers whose features are known: the colours, and the same half as fine."""
    return [pictures, functional.avg_pool2d(pictures, 2)]


def plain(folder: Path, name: str, spot: bool = False, value: int = 100) -> Sample:
    pixels = np.full((24, 24, 3), value, np.uint8)
    if spot:
        pixels[4:10, 6:12] = 250
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return Sample(folder / f"{name}.png", ready=True)


def test_features_are_averaged_and_lie_side_by_side(tmp_path: Path) -> None:
    found = features_of(colours, Pictures(Preprocessing(64)), plain(tmp_path, "spot", True), "cpu")
    assert found.shape == (24 * 24, 6)
    image = np.full((24, 24), 100 / 127.5 - 1)
    image[4:10, 6:12] = 250 / 127.5 - 1
    places = found.reshape(24, 24, 6)
    assert places[4, 6, 0] == pytest.approx(image[3:6, 5:8].mean(), abs=1e-6)
    assert places[7, 9, 0] == pytest.approx(image[7, 9], abs=1e-6)
    assert places[20, 20, 3] == pytest.approx(image[20, 20], abs=1e-6)


def test_a_spot_is_far_from_what_is_remembered(tmp_path: Path) -> None:
    pictures, recipe = Pictures(Preprocessing(64)), MemoryRecipe()
    normals = tuple(plain(tmp_path, f"n{index}", value=96 + index) for index in range(4))
    told: list[int] = []
    bank = remember(recipe, colours, pictures, Sources(real_normals=normals), 0, "cpu", told.append)
    assert told == [1, 2, 3, 4]
    assert len(bank) == round(0.1 * 4 * 24 * 24)
    scores = [
        score_of(colours, bank, pictures, one, "cpu")
        for one in (plain(tmp_path, "good", value=98), plain(tmp_path, "bad", True, 98))
    ]
    assert scores[0] < 0.03
    assert scores[1] > 0.5


@pytest.mark.parametrize(
    ("real", "made", "kept"),
    [(50, 600, (50, 350)), (300, 600, (200, 200)), (900, 10, (390, 10)), (0, 7, (0, 7))],
)
def test_real_normals_have_half_of_what_is_chosen_from(real: int, made: int, kept: tuple[int, int]) -> None:
    sides = (np.full((count, 2), value) for count, value in ((real, 0.0), (made, 1.0)))
    pool = pool_of(np.random.default_rng(0), *sides, 400)
    assert ((pool[:, 0] == 0).sum(), (pool[:, 0] == 1).sum()) == kept
