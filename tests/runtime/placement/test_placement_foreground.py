"""The part is found by its background, for a product and not for one photograph."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from seas_runtime.placement.where.foreground import WHOLE, Part, find_part, foreground, otsu, shows_background
from tests.runtime.placement.scenes import plate


def surface(seed: int, lit: float = 0) -> np.ndarray:
    """A surface without a background, unevenly lit by `lit`: uint8 [240, 320, 3]."""
    y, x = np.mgrid[:240, :320]
    light = lit * np.exp(-((x - 160) ** 2 + (y - 120) ** 2) / 5000)
    grey = np.random.default_rng(seed).normal(110, 8, (240, 320)) + light
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_a_part_and_its_hole() -> None:
    part = find_part(plate(), True)
    assert part.box == pytest.approx((40 / 240, 60 / 320, 200 / 240, 260 / 320), abs=0.01)
    truth = np.zeros((240, 320), bool)
    truth[40:200, 60:260] = True  # the hole is filled
    found = part.on((240, 320))
    assert (found & truth).sum() / (found | truth).sum() > 0.97
    assert np.array_equal(part.window((240, 320), 30, 50, 20, 30), found[30:50, 50:80])


def test_a_part_may_touch_an_edge_and_be_brighter() -> None:
    bright = 255 - plate(box=(0, 60, 200, 260))
    part = find_part(bright, True)
    assert part.box == pytest.approx((0, 60 / 320, 200 / 240, 260 / 320), abs=0.01)


def test_a_photograph_of_the_surface_alone_has_no_background() -> None:
    flat = np.full((90, 120, 3), 128, np.uint8)
    assert foreground(flat) is None
    assert foreground(np.random.default_rng(0).integers(100, 140, (90, 120, 3)).astype(np.uint8)) is None
    assert foreground(plate(box=(0, 20, 240, 200))) is None  # a third of the border
    assert find_part(flat, True) is WHOLE


def test_a_product_is_asked_and_not_one_photograph() -> None:
    """Surfaces are taken for parts where the light falls so; most are not."""
    surfaces = [surface(seed, 120 if seed % 3 == 1 else 0) for seed in range(16)]
    taken = [foreground(pixels) is not None for pixels in surfaces]
    assert any(taken)
    assert not shows_background(surfaces)
    assert find_part(surfaces[taken.index(True)], False) is WHOLE
    assert shows_background([plate(seed=seed) for seed in range(5)])
    assert shows_background([*(plate(seed=seed) for seed in range(5)), surfaces[taken.index(False)]])
    assert not shows_background([])


def test_large_photographs_have_the_same_part() -> None:
    small = plate()
    large = np.asarray(Image.fromarray(small).resize((3200, 2400), Image.Resampling.NEAREST))
    assert find_part(large, True).box == pytest.approx(find_part(small, True).box, abs=0.01)
    assert max(find_part(large, True).mask.shape) == 256


def test_otsu_against_every_threshold() -> None:
    random = np.random.default_rng(3)
    values = np.concatenate([random.normal(20, 4, 3000), random.normal(60, 9, 1500)])
    threshold, contrast = otsu(values)
    within = min(
        (values <= t).mean() * values[values <= t].var() + (values > t).mean() * values[values > t].var()
        for t in np.linspace(values.min(), values.max(), 500)[1:-1]
    )
    assert contrast == pytest.approx(1 - within / values.var(), abs=0.01)
    assert 28 < threshold < 45
    assert otsu(np.zeros(5)) == (0, 0)


def turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_turns_that_take_a_part_to_itself() -> None:
    y, x = np.mgrid[:200, :200]
    round_part = Part((x - 100) ** 2 + (y - 90) ** 2 <= 70**2)
    assert all(round_part.keeps((200, 200), turn(angle)) for angle in (17, 90, 245))
    wide = Part(find_part(plate(), True).mask)
    assert wide.keeps((240, 320), turn(180))
    assert wide.keeps((240, 320), np.diag([-1, 1]))
    assert not wide.keeps((240, 320), turn(90))
    assert not WHOLE.keeps((240, 320), turn(40))
    assert WHOLE.keeps((240, 240), turn(90))
