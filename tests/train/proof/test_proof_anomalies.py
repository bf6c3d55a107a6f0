"""What DRAEM draws into normals: where, what, and how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data.images import Preprocessing
from seas_train.proof.anomalies import Anomalies, anomaly_mask, changed, perlin_noise, shuffled
from seas_train.proof.crops import Batch, Sources, draw_batch
from seas_train.proof.fitting import Recipe
from seas_train.proof.pictures import Pictures, Sample
from tests.products import write_tiny_product


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return write_tiny_product(tmp_path / "plate", pairs=2, normals=2)


def normals(plate: Path) -> tuple[Sample, ...]:
    return tuple(Sample(plate / f"train/good/{index:03d}.png") for index in range(2))


def pairs(plate: Path, *, weak: bool = False) -> tuple[Sample, ...]:
    mask = plate / "ground_truth/Spot/000_mask.png"
    return (Sample(plate / "test/Spot/000.png", mask, "Spot", weak=weak),)


def drawn(plate: Path, sources: Sources, textures: Path | None = None, count: int = 64) -> Batch:
    pictures = Pictures(Preprocessing(64))
    anomalies = Anomalies.of(textures, pictures)
    return draw_batch(np.random.default_rng(0), pictures, sources, 32, count, anomalies)


def test_noise_is_smooth_and_as_fine_as_its_cells() -> None:
    random = np.random.default_rng(0)
    coarse, fine = (np.stack([perlin_noise(random, 64, n, n) for _ in range(30)]) for n in (2, 16))
    for noise in (coarse, fine):
        assert abs(noise).max() <= 1
        assert abs(noise).max() > 0.7
        assert noise.mean() == pytest.approx(0, abs=0.05)
    # From pixel to pixel noise of cells eight times as small changes eight times as much.
    steps = [abs(np.diff(noise, axis=2)).mean() for noise in (coarse, fine)]
    assert steps[1] / steps[0] == pytest.approx(8, rel=0.35)
    assert steps[0] < 0.05


def test_an_anomaly_lies_somewhere_and_never_everywhere() -> None:
    random = np.random.default_rng(1)
    sizes = [anomaly_mask(random, 32).mean() for _ in range(50)]
    assert min(sizes) > 0
    assert max(sizes) < 0.7
    assert np.std(sizes) > 0.02


def test_a_shuffled_picture_has_the_same_pixels_elsewhere() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    made = shuffled(np.random.default_rng(3), picture)
    assert (made != picture).mean() > 0.5
    assert np.array_equal(np.sort(made.reshape(-1, 3), axis=0), np.sort(picture.reshape(-1, 3), axis=0))


def test_the_picture_changes_beneath_the_mask_alone(plate: Path) -> None:
    anomalies = Anomalies(Pictures(Preprocessing(64)))
    picture = torch.full((3, 32, 32), 0.5)
    texture = np.full((32, 32, 3), 255, np.uint8)
    random = np.random.default_rng(0)
    shares = []
    for _ in range(40):
        made, shape = anomalies.draw(random, picture, texture)
        inside = shape > 0
        assert torch.equal(made[:, ~inside], picture[:, ~inside])
        shares.append(float(made[0][inside].mean()) * 2 - 1)  # the opacity
    assert 0.1 <= min(shares) < 0.3
    assert 0.8 < max(shares) <= 1


def test_half_of_the_crops_around_defects_are_drawn_anomalies(plate: Path) -> None:
    batch = drawn(plate, Sources(pairs(plate), normals(plate)), count=400)
    ours = (batch.masks > batch.hidden).flatten(1).any(1)
    assert not ours[1::2].any()
    assert ours[::2].float().mean() == pytest.approx(0.5, abs=0.08)
    # Where a pair's defect lies, what is beneath it is not known; where one was drawn, it is.
    assert not (ours & batch.hidden.flatten(1).any(1)).any()
    assert batch.hidden[::2].flatten(1).any(1).float().mean() == pytest.approx(0.5, abs=0.08)
    changed_here = (batch.pictures != batch.clean).any(1)
    assert not (changed_here & (batch.masks == 0)).any()


def test_without_pairs_anomalies_are_drawn_into_half_of_all_crops(plate: Path) -> None:
    batch = drawn(plate, Sources((), normals(plate)))
    assert batch.defective[::2].all()
    assert not batch.defective[1::2].any()
    assert not batch.hidden.any()


def test_textures_come_from_the_folder(plate: Path, tmp_path: Path) -> None:
    """Red pictures: whatever changes of light and colour follow, the product is grey and they are not."""
    textures = tmp_path / "textures"
    textures.mkdir()
    for index in range(2):
        Image.new("RGB", (40, 20), (200, 20, 60 * index)).save(textures / f"{index}.png")
    (textures / "readme.txt").write_text("none of these")

    def colour(batch: Batch) -> float:
        own = (batch.masks > batch.hidden)[:, None].expand_as(batch.pictures)
        spread = (batch.pictures.amax(1, True) - batch.pictures.amin(1, True)).expand_as(batch.pictures)
        return float(spread[own].mean())

    sources = Sources((), normals(plate))
    pictures = Pictures(Preprocessing(64))
    tinted = colour(drawn(plate, sources, textures))
    assert tinted > 0.1
    assert colour(drawn(plate, sources)) < tinted / 2
    assert {one.image.name for one in Anomalies.of(textures, pictures).textures} == {"0.png", "1.png"}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"--textures .*: expected a folder of pictures .* none in it"):
        Anomalies.of(empty, Pictures(Preprocessing(64)))


def test_changes_of_a_texture_follow_from_the_generator() -> None:
    texture = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    first, again, other = (changed(np.random.default_rng(seed), texture) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_boxes_are_those_of_weak_pairs(plate: Path) -> None:
    def batch(*made: Sample) -> Batch:
        sources = Sources(pairs(plate), normals(plate), made, share=0.5)
        return draw_batch(np.random.default_rng(0), Pictures(Preprocessing(64)), sources, 32, 32)

    assert batch(*pairs(plate)).boxes is None
    found = batch(*pairs(plate, weak=True))
    assert found.boxes is not None
    boxed = found.boxes.flatten(1).any(1)
    assert torch.equal(found.boxes[boxed], found.masks[boxed])
    assert 0.2 < boxed[::2].float().mean() < 0.8


def test_textures_are_for_segmenters_that_draw(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--textures: expected a segmenter that draws anomalies \(draem"):
        Recipe(segmenter="small", textures=tmp_path)
