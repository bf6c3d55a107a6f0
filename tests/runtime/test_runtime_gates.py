from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from seas_runtime.methods import gates

LATENTS = np.zeros((4, 8, 8), np.float32)
SIZE = 200


def judge(mask: np.ndarray, normal: bool = False, **changes: np.ndarray) -> str | None:
    values = {"latents": LATENTS, "probability": mask.astype(np.float32), **changes}
    return gates.rejection(values["latents"], values["probability"], mask, normal)


def square(side: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[10 : 10 + side, 10 : 10 + side] = True
    return mask


def test_a_defect_passes() -> None:
    assert judge(square(20)) is None


def test_area_bounds() -> None:
    assert judge(square(0)) == "mask under 0.02% of the image"
    small = np.zeros((SIZE, SIZE), bool)
    small[0, :7] = True  # 7 of 40,000 pixels: below 0.02 %
    assert judge(small) == "mask under 0.02% of the image"
    large = np.zeros((SIZE, SIZE), bool)
    large[: int(SIZE * 0.6)] = True  # exactly 60 %
    assert judge(large) is None
    large[-1, -1] = True
    assert judge(large) == "mask over 60% of the image"


def test_speckle() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[::4, ::4] = True
    assert judge(mask) == "mask is only speckle"
    lines = np.zeros((SIZE, SIZE), bool)
    lines[::10, :] = lines[1::10, :] = True  # two pixels thick
    assert judge(lines) == "mask is only speckle"
    mask[50:53, 50:53] = True
    assert judge(mask) is None


def test_a_square_at_the_border_is_not_speckle() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[-3:, -3:] = True
    assert judge(mask) is None


@pytest.mark.parametrize("name", ["latents", "probability"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite(name: str, value: float) -> None:
    mask = square(20)
    array = (LATENTS if name == "latents" else mask).astype(np.float32)
    array.flat[3] = value
    assert judge(mask, **{name: array}) == "non-finite values"
    assert judge(square(0), normal=True, **{name: array}) == "non-finite values"


def test_normals_must_be_empty() -> None:
    assert judge(square(0), normal=True) is None
    assert judge(square(1), normal=True) == "mask of a normal is not empty"


def test_opening_agrees_with_scipy() -> None:
    mask = np.random.default_rng(0).random((64, 48)) < 0.7
    expected = ndimage.binary_opening(mask, np.ones((3, 3), bool))
    assert expected.any()
    assert not expected.all()
    assert np.array_equal(gates.open_3x3(mask), expected)
