"""The score of a placed pair on constructed features; tests/export/test_real_windows.py has real ones."""

from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.methods.placed.score import COPY, features, normals_key, pair_score, score

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


def test_features_are_mean_and_deviation_under_the_mask() -> None:
    values = tap(0)
    inside = values[:, 5:9, 6:9].reshape(CHANNELS, -1).astype(np.float64)
    found = features(values, MASK)
    assert found.dtype == np.float32
    assert np.allclose(found, np.concatenate([inside.mean(1), inside.std(1)]), atol=1e-5)


def test_a_cell_counts_as_far_as_the_mask_covers_it() -> None:
    values = tap(0)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40:48, 48:60] = True  # a cell, and half of the next one
    found = features(values, mask)[:CHANNELS]
    assert np.allclose(found, (2 * values[:, 5, 6] + values[:, 5, 7]) / 3, atol=1e-5)
    mask[:] = False
    mask[41, 50] = True  # one pixel is enough: its cell alone
    assert np.allclose(features(values, mask), [*values[:, 5, 6], *np.zeros(CHANNELS)], atol=1e-5)
    with pytest.raises(ValueError, match="not empty"):
        features(values, np.zeros((SIZE, SIZE), bool))


def test_a_grid_that_does_not_divide_the_mask() -> None:
    mask = np.zeros((50, 70), bool)
    mask[20:30, 30:40] = True
    found = features(np.random.default_rng(0).normal(size=(3, 12, 9)), mask)
    assert found.shape == (6,)
    assert np.isfinite(found).all()


def windows(first: int, count: int, kind: np.ndarray | None = KIND) -> np.ndarray:
    return np.stack([features(tap(seed, kind), MASK) for seed in range(first, first + count)])


@pytest.mark.parametrize("real", [1, 2, 12])
def test_held_out_defects_score_above_normals_and_copies(real: int) -> None:
    table, normals = windows(0, real), windows(200, 32, None)
    held_out = [score(one, table, normals) for one in windows(100, 40)]
    beside = [score(one, table, normals) for one in windows(300, 40, None)]
    others = [score(one, table, normals) for one in windows(400, 40, OTHER)]
    copies = [score(one + np.float32(1e-3), table, normals) for one in table]
    assert min(held_out) > max(*beside, *copies)
    assert max(beside) < 0.5
    assert max(copies) < 0.05
    assert np.median(held_out) > np.median(others)


def test_the_formula() -> None:
    normals = np.array([[-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [1.0, 1.0]], np.float32)  # centre 0, unit 1
    real = np.array([[11.0, 1.0], [17.0, 1.0]], np.float32)  # 6 / sqrt(2) apart
    for along, expected in (
        (6.0, 0.5),  # halfway from a normal to a real one
        (11.0, 0.0),  # a copy
        (11.0 - 1.5, 0.5 / (1 + (1.5 / 8.5) ** 4)),  # at half of what counts as one
        (11.0 - 3.0, 1 / (1 + (3 / 7) ** 4)),
        (20.0, 1 / (1 + (3 / 19) ** 4)),
        (1.0, 0.0),  # a normal
    ):
        found = score(np.array([along, 1.0], np.float32), real, normals)
        assert found == pytest.approx(expected, abs=1e-4), along
    assert COPY == 0.5
    for value in (np.nan, np.inf):
        assert score(np.array([value, 1.0], np.float32), real, normals) == 0.0


def test_the_units_of_features_do_not_count() -> None:
    real, normals, one = windows(0, 6), windows(200, 8, None), windows(50, 1)[0]
    units = np.random.default_rng(3).uniform(0.01, 100, 2 * CHANNELS).astype(np.float32)
    scaled = score(units * one + 5, units * real + 5, units * normals + 5)
    assert scaled == pytest.approx(score(one, real, normals), abs=1e-3)


def test_features_that_are_all_the_same_have_a_score() -> None:
    same = np.ones((3, 4), np.float32)
    for feature in (same[0], same[0] + 1):
        assert 0 <= score(feature, same, same) <= 1


def test_a_pairs_score_by_a_bundles_table() -> None:
    table = {"chip": windows(0, 6), normals_key("chip"): windows(200, 8, None)}
    found = pair_score(table, "chip", tap(50), MASK)
    assert found == score(features(tap(50), MASK), table["chip"], table["chip/good"])
    assert pair_score(table, "scratch", tap(50), MASK) is None
    assert pair_score(table, "chip", tap(50), np.zeros_like(MASK)) == 0.0
