"""What is laid is as much rougher than its new surroundings as the real defect was than its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from seas_runtime.errors import UserError
from seas_runtime.placement.appearance.contrast import grain_around, measure_contrast
from seas_runtime.placement.appearance.grain import MOST_ROUGH
from seas_runtime.placement.appearance.looks import EDGE, Look, lay_look, margin, unpacked
from seas_runtime.placement.masks.augment import Ranges, augment
from seas_runtime.placement.masks.borders import sides_of
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.masks.shapes import pack_shapes, unpack_shapes
from seas_runtime.placement.where.foreground import WHOLE
from tests.runtime.placement.scenes import disc

SIZE, RADIUS = 128, 24


def surface(grain: float, brightness: int = 110, seed: int = 3) -> np.ndarray:
    """A surface [128, 128, 3] whose pixels differ by `grain` levels of deviation."""
    noise = np.random.default_rng(seed).normal(0, grain, (SIZE, SIZE))
    return np.repeat(np.clip(np.rint(brightness + noise), 0, 255)[..., None], 3, -1).astype(np.uint8)


def round_mask() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    start = SIZE // 2 - RADIUS
    mask[start : start + 2 * RADIUS + 1, start : start + 2 * RADIUS + 1] = disc(RADIUS)
    return mask


def rough_defect(grain: float, rougher: float) -> np.ndarray:
    """A defect 30 levels darker than its surface, and so many times rougher."""
    return np.where(round_mask()[..., None], surface(grain * rougher, 80), surface(grain))


def grain_of(pixels: np.ndarray, where: np.ndarray) -> float:
    grey = pixels.astype(float).mean(-1)
    return float(np.median(np.abs(grey - ndimage.uniform_filter(grey, 3, mode="nearest"))[where]))


def laid_on(
    window: np.ndarray, photograph: np.ndarray, mask: np.ndarray, *, known: bool = True
) -> np.ndarray:
    contrast = measure_contrast(photograph, mask)
    assert contrast.look is not None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    spare = margin((np.ptp(rows) + 1, np.ptp(columns) + 1)) - EDGE
    inner = contrast.look[spare:-spare, spare:-spare].astype(np.float32)
    own = np.zeros(inner.shape[:2], bool)
    look = Look(unpacked(inner, False), 110.0, own, contrast.roughness if known else 0.0)
    return lay_look(window, mask, look, (rows[0], columns[0]), grain=grain_around(window, mask))


@pytest.mark.parametrize("grain", [2, 4, 10])
@pytest.mark.parametrize("rougher", [0.6, 1.5])
def test_grain_follows_the_new_surroundings(grain: float, rougher: float) -> None:
    mask, window = round_mask(), surface(grain, seed=4)
    inside, beyond = ndimage.binary_erosion(mask, iterations=4), ~ndimage.binary_dilation(mask, iterations=4)
    laid = laid_on(window, rough_defect(4, rougher), mask)
    assert grain_of(laid, inside) / grain_of(laid, beyond) == pytest.approx(rougher, rel=0.2)
    assert laid[inside].mean() == pytest.approx(80, abs=3)
    before = laid_on(window, rough_defect(4, rougher), mask, known=False)
    assert grain_of(before, inside) == pytest.approx(rougher * grain_of(surface(4), beyond), rel=0.2)


def test_a_rougher_defect_has_no_line_along_its_outline() -> None:
    """The step at its edge is no grain, and is not raised as such."""
    mask, window = round_mask(), surface(8, seed=4)
    outline = mask & ~ndimage.binary_erosion(mask)
    inner, beside = ndimage.binary_erosion(mask, iterations=4), ndimage.binary_dilation(mask, iterations=2)
    laid = laid_on(window, rough_defect(4, 1.5), mask)
    assert laid[outline].mean() > laid[inner].mean() - 3, "a dark line within"
    assert laid[beside & ~mask].mean() < 112, "a bright line around"


def test_what_a_look_that_was_made_larger_lacks_is_the_photographs_own() -> None:
    mask, window = round_mask(), surface(8)
    inner, beyond = ndimage.binary_erosion(mask, iterations=4), ~mask
    size = 2 * RADIUS + 1 + 2 * EDGE
    smooth = np.broadcast_to(np.linspace(-20, 20, size, dtype=np.float32)[:, None, None], (size, size, 3))
    ripple = np.where(np.arange(size) % 2, 0.5, -0.5).astype(np.float32)[None, :, None]
    look = Look(smooth + ripple, 110.0, np.zeros((size, size), bool), 1.5)
    start = SIZE // 2 - RADIUS
    laid = lay_look(window, mask, look, (start, start), grain=grain_around(window, mask))
    assert grain_of(laid, inner) / grain_of(laid, beyond) == pytest.approx(1.5, rel=0.2)
    tone = ndimage.uniform_filter(laid.astype(float).mean(-1), 9)
    assert tone[start + 40, 64] - tone[start + 8, 64] == pytest.approx(40 * 32 / size, abs=4)


def test_below_a_stretched_look_lies_the_photographs_own_grain() -> None:
    """Its tone alone is laid: what its grain was is streaks now."""
    stripes = np.where(np.arange(SIZE) % 4 < 2, -12, 12)[None, :, None]
    window = np.broadcast_to(110 + stripes, (SIZE, SIZE, 3)).astype(np.uint8)
    mask = np.arange(SIZE)[:, None] < np.full((1, SIZE), 64)
    values = np.full((64 + 2 * EDGE, SIZE + 2 * EDGE, 3), 20, np.float32)
    values += np.where(np.arange(len(values)) % 2, -15, 15)[:, None, None]  # across the stripes
    own = np.zeros(values.shape[:2], bool)
    laid, before = (
        lay_look(window, mask, Look(values, 110.0, own, rough, True), (0, 0), wide=True).astype(float)
        for rough in (1.5, 0.0)
    )
    inner = laid[8:52, 12:-12, 0]
    assert np.abs(np.diff(inner, axis=0)).max() <= 2
    assert np.ptp(inner, axis=1).min() == pytest.approx(1.5 * 24, rel=0.1)
    assert inner.mean() == pytest.approx(130, abs=3)
    assert np.abs(np.diff(before[8:52, 12:-12, 0], axis=0)).mean() > 20, "roughness is not known"
    assert np.array_equal(laid[70:], window[70:])


def test_a_shape_that_spans_another_photograph_is_stretched() -> None:
    mask = np.arange(200)[:, None] < np.full((1, 60), 40)  # from border to border
    photograph = np.where(mask[..., None], 130, 100) + np.zeros((200, 60, 3))
    band = cut_shapes(mask, WHOLE, photograph.astype(np.uint8))[0]
    random, ranges = np.random.default_rng(0), Ranges.of([band])
    for width, stretched in ((60, False), (240, True)):
        look = augment(random, band, ranges, (200, width), sides_of(band))[2]
        assert look is not None
        assert look.stretched is stretched
        assert look.cut((0, 0, 4, 4)).stretched is stretched


def test_a_stroke_stays_as_it_is() -> None:
    """What is fine in a scratch is the scratch."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[60:64, 30:100] = True
    photograph = np.where(mask[..., None], 40, surface(3)).astype(np.uint8)
    window = surface(9)
    assert np.array_equal(laid_on(window, photograph, mask), laid_on(window, photograph, mask, known=False))


def test_only_what_surrounds_a_defect_tells_the_grain() -> None:
    mask = round_mask()
    other = np.zeros_like(mask)
    other[:, :20] = True
    pixels = np.where(other[..., None], surface(40), rough_defect(4, 3))
    expected = grain_of(surface(4), ~mask)
    assert grain_around(pixels, mask, mask | other) == pytest.approx(expected, rel=0.15)
    assert grain_around(pixels, np.ones_like(mask)) == 0
    assert grain_around(pixels, np.zeros_like(mask)) == 0


def test_grain_travels_in_the_table_and_old_tables_have_none() -> None:
    shapes = cut_shapes(round_mask(), WHOLE, rough_defect(4, 2))
    packed = pack_shapes({"stain": shapes})
    found = unpack_shapes(packed, "t")["stain"][0].contrast
    assert found is not None
    assert shapes[0].contrast is not None
    assert found.roughness == pytest.approx(shapes[0].contrast.roughness)
    assert found.roughness == pytest.approx(2, rel=0.2)
    old = {name: tensor for name, tensor in packed.items() if not name.endswith("roughness")}
    contrast = unpack_shapes(old, "t")["stain"][0].contrast
    assert contrast is not None
    assert contrast.roughness == 0


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, np.float32),
        np.zeros(1, np.float64),
        np.full(1, np.nan, np.float32),
        np.full(1, -1, np.float32),
        np.full(1, 2 * MOST_ROUGH, np.float32),
    ],
)
def test_grain_is_not_believed(value: np.ndarray) -> None:
    packed = pack_shapes({"stain": cut_shapes(round_mask(), WHOLE, rough_defect(4, 2))})
    with pytest.raises(UserError, match="t: 'stain/roughness': expected"):
        unpack_shapes({**packed, "stain/roughness": value}, "t")
