"""Parts, holes and growth are those of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from seas_runtime.errors import UserError
from seas_runtime.placement.morphology import (
    box_of,
    connected_parts,
    cut_to_box,
    fill_holes,
    grow,
    largest_part,
    reduced,
    without_specks,
)


def speckled(seed: int, share: float = 0.45) -> np.ndarray:
    return np.random.default_rng(seed).random((37, 53)) < share


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_connected_parts(seed: int, diagonal: bool) -> None:
    mask = speckled(seed, 0.3 + 0.05 * seed)
    labels, count = connected_parts(mask, diagonal)
    expected, number = ndimage.label(mask, np.ones((3, 3)) if diagonal else None)
    assert count == number
    assert np.array_equal(labels > 0, mask)
    pairs = set(zip(labels[mask].tolist(), expected[mask].tolist(), strict=True))
    assert len(pairs) == number


@pytest.mark.parametrize("seed", range(6))
def test_holes_and_the_largest_part(seed: int) -> None:
    mask = speckled(seed, 0.6)
    assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    assert largest_part(mask).sum() == np.bincount(labels.ravel())[1:].max()
    nothing = np.zeros((4, 5), bool)
    assert not largest_part(nothing).any()
    assert not fill_holes(nothing).any()


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 60])
def test_growth_is_by_a_disc(radius: int) -> None:
    mask = speckled(1, 0.01)
    distance = ndimage.distance_transform_edt(~mask)
    assert np.array_equal(grow(mask, radius), distance <= radius)


def test_cells_in_which_anything_is_true() -> None:
    mask = np.zeros((7, 10), bool)
    mask[6, 9] = mask[0, 3] = True
    assert reduced(mask, 3).tolist() == [
        [False, True, False, False],
        [False] * 4,
        [False, False, False, True],
    ]
    assert reduced(mask, 1) is mask


def test_boxes() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:4, 5] = True
    assert box_of(mask) == (2, 5, 4, 6)
    assert cut_to_box(mask).tolist() == [[True], [True]]
    with pytest.raises(UserError, match="expected a defect, found none"):
        cut_to_box(np.zeros((3, 3), bool))


@pytest.mark.parametrize("seed", range(4))
def test_specks_are_parts_of_few_pixels(seed: int) -> None:
    mask = speckled(seed, 0.35)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = ndimage.sum(mask, labels, range(1, count + 1))
    for smallest in (0, 1, 4, 9, 10_000):
        large = [number for number, size in enumerate(sizes, 1) if size >= smallest]
        assert np.array_equal(without_specks(mask, smallest), np.isin(labels, large))
