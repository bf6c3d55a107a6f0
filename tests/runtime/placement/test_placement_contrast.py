"""What a defect is drawn from: the contrast of a real one, laid into a window."""

from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.placement.appearance.contrast import Contrast, measure_contrast, with_contrast
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.where.foreground import WHOLE
from tests.runtime.placement.scenes import disc


def colour(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def spotted(size: int = 120, radius: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """A surface of (100, 110, 120) with a spot of (40, 30, 20) in its middle, and the spot's mask."""
    mask = np.zeros((size, size), bool)
    start = size // 2 - radius
    mask[start : start + 2 * radius + 1, start : start + 2 * radius + 1] = disc(radius)
    return np.where(mask[..., None], (40, 30, 20), (100, 110, 120)).astype(np.uint8), mask


@pytest.mark.parametrize(("size", "radius"), [(120, 10), (900, 300), (64, 1)])
def test_a_contrast_is_measured_inside_and_around(size: int, radius: int) -> None:
    found = measure_contrast(*spotted(size, radius))
    assert np.allclose(found.inside, (40, 30, 20), atol=0.01)
    assert np.allclose(found.around, (100, 110, 120), atol=0.01)


def test_other_defects_are_no_surroundings() -> None:
    pixels, mask = spotted()
    other = np.zeros_like(mask)
    other[:, 74:] = True
    pixels[other] = 255
    assert np.allclose(measure_contrast(pixels, mask, other).around, (100, 110, 120), atol=0.01)
    assert measure_contrast(pixels, mask).around[0] > 105


def test_a_defect_that_fills_its_photograph_has_its_own_surroundings() -> None:
    pixels = np.full((30, 30, 3), 7, np.uint8)
    assert np.array_equal(measure_contrast(pixels, np.ones((30, 30), bool)).around, (7, 7, 7))


def test_a_contrast_is_laid_into_the_mask_alone() -> None:
    window = np.random.default_rng(0).integers(95, 106, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 10:50] = True
    laid = with_contrast(window, mask, [Contrast(colour(40, 50, 160), colour(100, 100, 100))], 0.0)
    inner, outer = np.zeros_like(mask), np.ones_like(mask)
    inner[21:39, 11:49], outer[19:41, 9:51] = True, False
    assert np.array_equal(laid[outer], window[outer])
    changed = laid[inner].astype(int) - window[inner]
    assert np.allclose(changed, (-60, -50, 60), atol=1.5)  # the window's grain stays
    edge = laid[20, 20:40].astype(int) - window[20, 20:40]
    assert (edge[:, 0] < 0).all()
    assert edge[:, 0].mean() > -59  # soft


def test_a_contrast_is_as_strong_as_the_window_is_bright() -> None:
    mask = np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    contrast = Contrast(colour(50, 50, 50), colour(100, 100, 100))
    for brightness, expected in ((50, 25), (100, 50), (120, 60), (240, 120)):
        laid = with_contrast(np.full((64, 64, 3), brightness, np.uint8), mask, [contrast], 0.0)
        assert abs(int(laid[32, 32, 0]) - expected) <= 1


def test_what_is_brighter_keeps_its_share_of_the_way_to_white() -> None:
    mask = np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    contrast = Contrast(colour(177, 177, 177), colour(100, 100, 100))
    for brightness, expected in ((50, 88), (100, 177), (200, 227), (255, 255)):
        laid = with_contrast(np.full((64, 64, 3), brightness, np.uint8), mask, [contrast], 0.0)
        assert abs(int(laid[32, 32, 0]) - expected) <= 1


def test_one_of_those_with_like_surroundings_is_chosen() -> None:
    mask = np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    window = np.full((64, 64, 3), 100, np.uint8)
    near = [Contrast(colour(d, d, d), colour(100, 100, 100)) for d in (20, 60)]
    far = [Contrast(colour(255, 255, 255), colour(g, g, g)) for g in (0, 200, 10, 220)]
    known = [far[0], near[0], far[1], near[1], *far[2:]]
    seen = {int(with_contrast(window, mask, known, choice)[32, 32, 0]) for choice in np.linspace(0, 0.999, 9)}
    assert seen == {20, 60}
    with pytest.raises(ValueError, match="expected the contrast of at least one real defect"):
        with_contrast(window, mask, [], 0.0)


def test_shapes_are_cut_with_their_contrasts() -> None:
    pixels, mask = spotted()
    (shape,) = cut_shapes(mask, WHOLE, pixels)
    assert shape.contrast is not None
    assert np.allclose(shape.contrast.inside, (40, 30, 20), atol=0.01)
    assert cut_shapes(mask, WHOLE)[0].contrast is None
