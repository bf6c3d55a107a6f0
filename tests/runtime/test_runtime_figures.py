from __future__ import annotations

import math

import numpy as np
import pytest

from seas_runtime.figures import SAME, extent, iou, largest_difference, overlap, psnr, squared_error


def test_psnr_of_images() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    assert squared_error(image, image + np.uint8(255)) == 12 * 255**2
    assert psnr(12 * 255.0**2, 12) == 0
    assert psnr(12 * 25.5**2, 12) == pytest.approx(20)
    assert psnr(squared_error(image, image), image.size) == SAME


def test_overlap_of_masks() -> None:
    one, other = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert overlap(one, other) == (1, 3)
    assert iou(1, 3) == pytest.approx(1 / 3)
    assert (iou(0, 0), iou(0, 0, empty=0.0)) == (1.0, 0.0)


def test_differences_and_ranges() -> None:
    assert largest_difference(np.array([1, 2], np.uint8), np.array([1, 255], np.uint8)) == 253
    assert math.isnan(largest_difference(np.array([np.nan, 1.0]), np.array([0.0, 0.0])))
    assert [extent(np.array(values)) for values in ([-1.0, 3.0], [2.0, 2.0], [0.0, 0.0])] == [4.0, 2.0, 1.0]
