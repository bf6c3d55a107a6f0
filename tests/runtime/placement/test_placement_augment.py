"""New shapes stay within what a defect's real ones are like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from seas_runtime.placement.masks.augment import Ranges, augment, direction, thicker
from seas_runtime.placement.masks.shapes import Shape
from seas_runtime.placement.masks.sources import BoxSource
from tests.runtime.placement.scenes import disc, shape

PHOTOGRAPH = (400, 600)


def stroke(angle: float, length: int = 80, width: int = 7) -> np.ndarray:
    """A stroke that rises by `angle` degrees from the rows."""
    image = Image.new("1", (200, 200))
    across, down = math.cos(math.radians(angle)) * length / 2, math.sin(math.radians(angle)) * length / 2
    ImageDraw.Draw(image).line((100 - across, 100 - down, 100 + across, 100 + down), fill=1, width=width)
    mask = np.array(image)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def strokes(*angles: float) -> list[Shape]:
    return [shape(stroke(angle), PHOTOGRAPH) for angle in angles]


def made(shapes: list[Shape], count: int = 40) -> list[np.ndarray]:
    ranges = Ranges.of(shapes)
    return [
        augment(np.random.default_rng(seed), shapes[seed % len(shapes)], ranges, PHOTOGRAPH)[0]
        for seed in range(count)
    ]


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
def test_the_direction_of_a_stroke(angle: float) -> None:
    found = direction(stroke(angle))
    assert found is not None
    assert abs(np.angle(np.exp(2j * (found - math.radians(angle))))) / 2 < 0.03
    assert direction(disc(9)) is None
    assert direction(np.ones((1, 1), bool)) is None


def test_shapes_of_one_direction_keep_it() -> None:
    angles = [direction(mask) for mask in made(strokes(60, 63, 57))]
    away = [
        abs(np.angle(np.exp(2j * (angle - math.radians(60))))) / 2 for angle in angles if angle is not None
    ]
    assert len(away) == 40
    assert max(away) < math.radians(25)  # 10 of turning, the rest of shear and warp
    assert max(away) > math.radians(5)


def test_shapes_of_many_directions_are_turned_any_way() -> None:
    assert Ranges.of(strokes(0, 60, 120)).turn == math.pi
    assert Ranges.of([shape(disc(9))]).turn == math.pi
    angles = [found for mask in made(strokes(0, 60, 120)) if (found := direction(mask)) is not None]
    assert np.histogram(np.mod(angles, math.pi), 6, (0, math.pi))[0].min() >= 1


def test_sizes_stay_between_the_smallest_and_the_largest() -> None:
    shapes = [shape(disc(radius), PHOTOGRAPH) for radius in (10, 14)]
    sizes = [math.sqrt(mask.sum() / math.pi) for mask in made(shapes)]
    assert 10 * 0.75 < min(sizes) < 11
    assert 13 < max(sizes) < 14 * 1.3
    alone = [math.sqrt(mask.sum() / math.pi) for mask in made(shapes[:1])]
    assert 10 * 0.75 < min(alone) < max(alone) < 10 * 1.3


def test_growth_is_a_share_of_the_thickness() -> None:
    """Of a bar without its ends, where neither turn nor warp tells."""
    bar = np.zeros((80, 300), np.float32)
    bar[20:60] = 1
    for share in (-0.15, 0.0, 0.15):
        column = thicker(bar, share)[:, 150]
        assert column.sum() == pytest.approx(40 * (1 + share), abs=1.5)


def test_a_photograph_of_twice_the_size_has_masks_of_twice_the_size() -> None:
    shapes = [shape(disc(12), PHOTOGRAPH)]
    ranges = Ranges.of(shapes)
    for seed in range(10):
        small, turned, _ = augment(np.random.default_rng(seed), shapes[0], ranges, PHOTOGRAPH)
        large, again, _ = augment(np.random.default_rng(seed), shapes[0], ranges, (800, 1200))
        assert np.array_equal(turned, again)
        assert large.sum() == pytest.approx(4 * small.sum(), rel=0.1)


def test_thin_cracks_stay_whole() -> None:
    """A line of one pixel, turned any way, is not broken into dots."""
    shapes = [shape(stroke(angle, 150, 1), PHOTOGRAPH) for angle in (0, 45, 90, 110)]
    for mask in made(shapes, 24):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        largest = np.bincount(labels.ravel())[1:].max()
        assert largest >= 0.6 * mask.sum(), count


@pytest.mark.parametrize("mask", [np.ones((1, 1), bool), np.ones((1, 40), bool), np.ones((2, 2), bool)])
def test_the_smallest_masks_stay_masks(mask: np.ndarray) -> None:
    shapes = [shape(mask, PHOTOGRAPH)]
    for found in made(shapes, 30):
        assert found.any()
        assert found[0].any()
        assert found[:, -1].any()
        assert max(found.shape) <= 1.6 * max(mask.shape) + 2


def test_how_it_was_turned_is_told() -> None:
    """A stroke's direction, turned as told, is that of what was made, but for shear and warp."""
    shapes = strokes(0, 50, 100)
    ranges = Ranges.of(shapes)
    for seed in range(12):
        mask, turned, _ = augment(np.random.default_rng(seed), shapes[1], ranges, PHOTOGRAPH)
        across, down = turned @ [math.cos(math.radians(50)), math.sin(math.radians(50))]
        found = direction(mask)
        assert found is not None
        assert abs(np.angle(np.exp(2j * (found - math.atan2(down, across))))) / 2 < math.radians(15)
        assert np.allclose(turned @ turned.T, np.eye(2), atol=1e-5)


def test_the_same_numbers_give_the_same_shape() -> None:
    shapes = strokes(0, 60, 120)
    one, other = made(shapes, 3), made(shapes, 3)
    assert all(map(np.array_equal, one, other))
    assert not np.array_equal(one[0], made(shapes, 4)[3])


def test_on_cuts_of_a_scene_a_defect_stays_as_large_in_pixels() -> None:
    """Photographs of tiles, each cut out along its tile: a hole is no larger on a larger tile."""
    cuts = [Shape(disc(6), size, (0.5, 0.5), 1) for size in ((200, 100), (150, 160), (100, 300))]
    ranges = Ranges.of(cuts)
    assert ranges.cuts
    assert [ranges.scale_on(shape, (400, 400)) for shape in cuts] == [1, 1, 1]
    assert ranges.scale_on(cuts[0], (20, 400)) == cuts[0].scale_on((20, 400)) < 1  # it hardly has room there
    sizes = [
        max(augment(np.random.default_rng(seed), cuts[seed % 3], ranges, (400, 400))[0].shape)
        for seed in range(30)
    ]
    own = max(cuts[0].mask.shape)
    assert 0.8 * own < np.median(sizes) < 1.2 * own
    assert max(sizes) < 1.5 * own
    resolutions = [Shape(disc(6), size, (0.5, 0.5), 1) for size in ((200, 200), (400, 402))]
    assert not Ranges.of(resolutions).cuts
    assert Ranges.of(resolutions).scale_on(resolutions[0], (400, 400)) == pytest.approx(2)
    box = BoxSource({"hole": cuts}, None).draw(np.random.default_rng(0), "hole", (400, 400)).mask
    assert box.shape == cuts[0].mask.shape
