"""The score of a placed pair on constructed features; tests/export/test_real_windows.py has real ones."""

from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.methods.placed.score import features, score, spacing

CHANNELS, GRID, SIZE = 12, 16, 128
MASK = np.zeros((SIZE, SIZE), bool)
MASK[40:72, 48:72] = True  # rows 5 to 8, columns 6 to 8 of the grid
KIND, OTHER = np.random.default_rng(7).normal(0, 3, (2, CHANNELS))


def tap(seed: int, kind: np.ndarray | None = KIND, mask: np.ndarray = MASK) -> np.ndarray:
    """A tap of a surface, with what a kind of defect does to the cells under the mask."""
    random = np.random.default_rng(seed)
    made = random.normal(0, 1, (CHANNELS, GRID, GRID))
    if kind is not None:
        side = SIZE // GRID
        cells = mask.reshape(GRID, side, GRID, side).mean(axis=(1, 3))
        made += kind[:, None, None] * cells + random.normal(0, 0.4, (CHANNELS, 1, 1)) * cells
    return made.astype(np.float32)


def test_features_are_mean_and_deviation_under_the_mask_against_the_window() -> None:
    values = tap(0)
    inside = values[:, 5:9, 6:9].reshape(CHANNELS, -1).astype(np.float64)
    flat = values.reshape(CHANNELS, -1).astype(np.float64)
    expected = np.concatenate(
        [(inside.mean(1) - flat.mean(1)) / flat.std(1), inside.std(1) / flat.std(1) - 1]
    )
    assert features(values, MASK).dtype == np.float32
    assert np.allclose(features(values, MASK), expected, atol=1e-5)


def test_a_cell_counts_as_far_as_the_mask_covers_it() -> None:
    values = tap(0)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40:48, 48:60] = True  # a cell, and half of the next one
    weights = np.zeros((GRID, GRID))
    weights[5, 6], weights[5, 7] = 2 / 3, 1 / 3
    mean = (values * weights).sum(axis=(1, 2))
    flat = values.reshape(CHANNELS, -1)
    assert np.allclose(features(values, mask)[:CHANNELS], (mean - flat.mean(1)) / flat.std(1), atol=1e-5)
    mask[:] = False
    mask[41, 50] = True  # one pixel is enough: its cell alone
    found = features(values, mask)
    assert np.allclose(found[:CHANNELS], (values[:, 5, 6] - flat.mean(1)) / flat.std(1), atol=1e-5)
    assert np.allclose(found[CHANNELS:], -1)
    with pytest.raises(ValueError, match="not empty"):
        features(values, np.zeros((SIZE, SIZE), bool))


def test_a_grid_that_does_not_divide_the_mask() -> None:
    mask = np.zeros((50, 70), bool)
    mask[20:30, 30:40] = True
    found = features(np.random.default_rng(0).normal(size=(3, 12, 9)), mask)
    assert found.shape == (6,)
    assert np.isfinite(found).all()


def test_brightness_and_contrast_of_a_photograph_do_not_count() -> None:
    assert np.allclose(features(5 * tap(0) + 3, MASK), features(tap(0), MASK), atol=1e-4)
    assert np.isfinite(features(np.zeros((CHANNELS, GRID, GRID)), MASK)).all()


def test_held_out_defects_score_above_normals_others_and_copies() -> None:
    real = np.stack([features(tap(seed), MASK) for seed in range(12)])
    scale = spacing(real)
    held_out = [score(features(tap(seed), MASK), real, scale) for seed in range(100, 140)]
    normals = [score(features(tap(seed, None), MASK), real, scale) for seed in range(100, 140)]
    others = [score(features(tap(seed, OTHER), MASK), real, scale) for seed in range(100, 140)]
    copies = [score(one + np.float32(1e-3), real, scale) for one in real]
    assert np.median(held_out) > 0.8
    assert min(held_out) > max(*normals, *others, *copies)
    assert max(copies) < 0.05


def test_the_formula() -> None:
    real = np.array([[0.0, 0.0], [2.0, 2.0], [5.0, 5.0]], np.float32)
    assert spacing(real) == pytest.approx(2.0)  # to the nearest: 2, 2, 3
    for distance, expected in ((1.0, 0.5), (2.0, 1.0), (4.0, 0.5), (20.0, 0.1), (0.0, 0.0)):
        point = real[2] + np.float32(distance)
        assert score(point, real, 2.0) == pytest.approx(expected), distance
    assert score(np.full(2, np.nan, np.float32), real, 2.0) == 0.0
    assert score(np.full(2, np.inf, np.float32), real, 2.0) == 0.0


def test_one_real_defect_has_a_scale_too() -> None:
    real = features(tap(0), MASK)[None]
    scale = spacing(real)
    assert scale == pytest.approx(np.sqrt(np.mean(np.square(real))) / 2)
    near = score(features(tap(1), MASK), real, scale)
    assert near > 1.2 * score(features(tap(1, None), MASK), real, scale)
    assert score(real[0], real, scale) == 0.0


def test_real_defects_that_are_all_one_picture_have_a_scale() -> None:
    assert 0 < spacing(np.ones((3, 4), np.float32)) < 1e-3
    assert score(np.ones(4, np.float32), np.ones((3, 4), np.float32), 1e-6) == 0.0
