"""The look of a real defect: measured, made anew with its mask, and laid on another surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from seas_runtime.errors import UserError
from seas_runtime.placement.appearance.contrast import Contrast
from seas_runtime.placement.appearance.grain import MOST_GRAIN, with_grain
from seas_runtime.placement.appearance.looks import (
    EDGE,
    LARGEST,
    Look,
    joined_looks,
    lay_look,
    margin,
    measure_look,
    misfit,
    unpacked,
)
from seas_runtime.placement.appearance.surface import fill_in, is_wide
from seas_runtime.placement.draw import Placer
from seas_runtime.placement.masks.augment import Ranges, augment
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.masks.shapes import pack_shapes, unpack_shapes
from seas_runtime.placement.morphology import Box, grow
from seas_runtime.placement.options import PlacementOptions
from seas_runtime.placement.regions import Placed
from seas_runtime.placement.where.foreground import WHOLE, Part, find_part
from tests.runtime.placement.scenes import disc, shape

SIZE = 160


def slope() -> np.ndarray:
    """A surface that is lit from one side: 90 to 122 levels."""
    return np.broadcast_to((90 + np.arange(SIZE) / 5)[None, :, None], (SIZE, SIZE, 3)).astype(np.float32)


def two_toned(radius: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A defect on that surface: 40 levels darker on its left, 40 brighter on its right; and its mask."""
    mask = np.zeros((SIZE, SIZE), bool)
    start = SIZE // 2 - radius
    mask[start : start + 2 * radius + 1, start : start + 2 * radius + 1] = disc(radius)
    columns = np.arange(SIZE)[None, :, None]
    changed = slope() + np.where(columns < SIZE // 2, -40, 40)
    return np.where(mask[..., None], changed, slope()).astype(np.uint8), mask


def test_a_look_is_the_difference_from_the_surface_below() -> None:
    pixels, mask = two_toned()
    packed, own = measure_look(pixels, mask)
    assert not own
    around = margin((25, 25))
    assert packed.shape == (25 + 2 * around, 25 + 2 * around, 3)
    difference = (packed.astype(float) - 128) * 2
    middle = around + 12
    assert difference[middle, middle - 6].mean() == pytest.approx(-40, abs=4)
    assert difference[middle, middle + 6].mean() == pytest.approx(40, abs=4)
    assert np.abs(difference[0]).max() <= 2  # the surface itself


@pytest.mark.parametrize("flank", [0, 25])
def test_the_light_on_a_wide_defect_at_the_border_is_no_part_of_its_look(flank: int) -> None:
    """A band that is 10 levels brighter, with stripes of 8 levels, in light that falls off towards it, and
    towards the flanks of a round part."""
    rows, columns = np.indices((SIZE, SIZE))
    height = 70
    mask = rows < height
    stripes = np.where(columns % 8 < 4, 4, -4)
    light = 60 + 0.4 * rows - flank * (2 * columns / SIZE - 1) ** 2
    pixels = light + np.where(mask, 10 + stripes, 0)
    pixels = np.broadcast_to(pixels[..., None], (SIZE, SIZE, 3)).astype(np.uint8)
    packed, own = measure_look(pixels, mask)
    assert not own
    around = margin((height, SIZE))
    difference = ((packed.astype(float) - 128) * 2)[around:-around, around:-around, 0]
    eights = difference.reshape(height, SIZE // 8, 8)
    tones = eights.mean((1, 2))
    assert np.ptp(tones) < 6  # of 28 that the light changes across the band
    assert np.ptp(eights.mean((0, 2))) < 3  # of 25 to a flank
    assert tones.mean() == pytest.approx(10, abs=6)
    assert (eights[..., :4] - eights[..., 4:]).mean() == pytest.approx(8, abs=1)


def test_a_slope_of_a_defect_beside_the_border_is_its_own() -> None:
    pixels, mask = two_toned(radius=40)
    packed, _ = measure_look(pixels, mask)
    difference = (packed.astype(float) - 128) * 2
    middle = margin((81, 81)) + 40
    assert difference[middle, middle - 20].mean() == pytest.approx(-40, abs=4)
    assert difference[middle, middle + 20].mean() == pytest.approx(40, abs=4)


def test_other_defects_are_no_surface() -> None:
    pixels, mask = two_toned()
    other = np.zeros_like(mask)
    other[:, 94:] = True
    pixels[other] = 255
    inside = (measure_look(pixels, mask, other)[0].astype(float) - 128) * 2
    middle = margin((25, 25)) + 12
    assert inside[middle, middle + 6].mean() == pytest.approx(40, abs=8)


def test_a_large_look_is_kept_small_and_one_at_the_border_has_a_margin() -> None:
    mask = np.zeros((1000, 1200), bool)
    mask[:800, 200:1200] = True
    packed, _ = measure_look(np.full((1000, 1200, 3), 90, np.uint8), mask)
    assert max(packed.shape[:2]) == LARGEST
    assert packed.shape[1] / packed.shape[0] == pytest.approx((1000 + 2 * 102) / (800 + 2 * 102), abs=0.02)
    assert (packed == 128).all()


def test_a_photograph_that_is_all_defect_has_a_look() -> None:
    assert measure_look(np.full((9, 9, 3), 40, np.uint8), np.ones((9, 9), bool))[0].shape[2] == 3


def test_what_is_unknown_is_filled_in_smoothly() -> None:
    known = np.ones((SIZE, SIZE), bool)
    known[40:100, 50:120] = False
    holed = np.where(known[..., None], slope(), 0).astype(np.float32)
    assert np.abs(fill_in(holed, known) - slope()).max() < 5
    nothing = fill_in(slope(), np.zeros_like(known))
    assert nothing == pytest.approx(float(slope().mean()), abs=0.1)


@pytest.mark.parametrize("brightness", [60, 100, 160, 230])
def test_a_look_is_laid_on_the_surface_of_its_mask_alone(brightness: int) -> None:
    pixels, mask = two_toned()
    found = _whole(pixels, mask)
    window = np.full((64, 64, 3), brightness, np.uint8)
    window[10:35, 20:45][disc(12)] = 250  # what was there is gone
    placed = np.zeros((64, 64), bool)
    placed[10:35, 20:45] = disc(12)
    laid = lay_look(window, placed, found, (10, 20)).astype(int)
    gain, room = brightness / 106, (255 - brightness) / (255 - 106)
    assert laid[22, 26].mean() == pytest.approx(brightness - 40 * gain, abs=7)
    assert laid[22, 38].mean() == pytest.approx(brightness + 40 * min(gain, room), abs=7)
    beyond = np.ones((64, 64), bool)
    beyond[7:38, 17:48] = False
    assert np.array_equal(laid[beyond], window[beyond])


def test_below_a_wide_look_lies_the_light_of_the_photograph_without_its_grain() -> None:
    """What surrounds a band at the border says nothing of the light there: the photograph does."""
    rows, columns = np.indices((SIZE, SIZE))
    lit = np.where(rows < 60, 140 - rows, 80)  # brighter towards the border
    window = np.broadcast_to((lit + 6 * (-1) ** columns)[..., None], (SIZE, SIZE, 3)).astype(np.uint8)
    mask = rows < 60
    values = np.full((60 + 2 * EDGE, SIZE + 2 * EDGE, 3), 10, np.float32)
    look = Look(values, 80.0, np.zeros(values.shape[:2], bool))
    laid = lay_look(window, mask, look, (0, 0), wide=True).astype(float)
    gain = np.minimum(lit / 80, (255 - lit) / (255 - 80))
    inside = slice(4, 52), slice(8, -8)
    assert np.abs(laid[..., 0] - lit - 10 * gain)[inside].max() < 4  # and of its grain nothing
    filled = lay_look(window, mask, look, (0, 0)).astype(float)
    assert (lit - filled[..., 0])[2:20].mean() > 25
    assert np.array_equal(laid[64:], window[64:])


@pytest.mark.parametrize(
    ("box", "wide"),
    [
        ((0, 0, 30, 100), True),
        ((60, 100, 90, 200), True),
        ((10, 10, 40, 110), False),  # beside the border
        ((0, 0, 30, 49), False),  # small
        ((-5, 20, 60, 90), True),
    ],
)
def test_wide_is_what_spans_a_quarter_and_reaches_the_border(box: Box, wide: bool) -> None:
    assert is_wide(box, (90, 200)) is wide


def test_a_look_that_sticks_out_of_its_window_is_laid_as_far_as_it_lies_in_it() -> None:
    pixels, mask = two_toned()
    placed = np.zeros((48, 48), bool)
    placed[:15, :15] = disc(12)[10:, 10:]
    laid = lay_look(np.full((48, 48, 3), 106, np.uint8), placed, _whole(pixels, mask), (-10, -10))
    assert laid[2, 8].mean() == pytest.approx(146, abs=6)
    nowhere = np.zeros((48, 48), bool)
    assert (lay_look(laid, nowhere, _whole(pixels, mask), (0, 0)) == laid).all()


def test_a_shape_made_anew_takes_its_look_along() -> None:
    """Where the new mask is turned, its dark half is turned with it."""
    pixels, mask = two_toned()
    made = cut_shapes(mask, WHOLE, pixels)[0]
    for seed in range(12):
        new, turned, look = augment(
            np.random.default_rng(seed), made, Ranges.of([made, shape(disc(20))]), (SIZE, SIZE)
        )
        assert look is not None
        assert look.values.shape == (new.shape[0] + 2 * EDGE, new.shape[1] + 2 * EDGE, 3)
        inside = look.values[EDGE:-EDGE, EDGE:-EDGE].mean(-1)
        rows, columns = np.nonzero(new)
        values = inside[rows, columns]
        assert np.abs(values).mean() > 25
        bright = np.array([columns[values > 15].mean(), rows[values > 15].mean()])
        dark = np.array([columns[values < -15].mean(), rows[values < -15].mean()])
        expected = turned @ np.array([1.0, 0.0])  # from its left to its right
        direction = (bright - dark) / np.linalg.norm(bright - dark)
        assert direction @ expected > 0.9


def test_a_shape_made_anew_keeps_the_grain_of_its_look() -> None:
    """Sampled between pixels it would keep less than half."""
    pixels = np.random.default_rng(0).normal(100, 12, (SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[40:121, 40:121] = disc(40)
    found = cut_shapes(mask, WHOLE, pixels)[0]
    assert found.contrast is not None
    assert found.contrast.look is not None
    beside = margin((81, 81)) - EDGE
    real = _grain(found.contrast.look[beside:-beside, beside:-beside].astype(np.float32) * 2)
    grains = []
    for seed in range(5):
        _, _, look = augment(np.random.default_rng(seed), found, Ranges.of([found]), (SIZE, SIZE))
        assert look is not None
        grains.append(_grain(look.values))
    assert np.mean(grains) == pytest.approx(real, rel=0.15)


def test_grain_is_raised_where_sampling_took_it_and_never_without_end() -> None:
    rough = np.random.default_rng(0).normal(0, 10, (40, 40, 3)).astype(np.float32)
    assert _grain(with_grain(rough / 1.5, rough)) == pytest.approx(_grain(rough), rel=0.03)
    assert _grain(with_grain(rough / 9, rough)) == pytest.approx(_grain(rough) / 9 * MOST_GRAIN, rel=0.03)
    assert with_grain(rough, rough / 2) == pytest.approx(rough)
    even = np.full((40, 40, 3), 7, np.float32)
    assert with_grain(even, rough) == pytest.approx(even)


def _grain(values: np.ndarray) -> float:
    """The median difference of a pixel from the mean of its nine."""
    around = ndimage.uniform_filter(values, (3, 3, 0), mode="nearest")
    return float(np.median(np.abs(values - around)))


def test_looks_travel_in_the_table_and_old_tables_have_none() -> None:
    pixels, mask = two_toned()
    given = {"stain": cut_shapes(mask, WHOLE, pixels) * 2}
    packed = pack_shapes(given)
    found = unpack_shapes(packed, "t")["stain"]
    for before, after in zip(given["stain"], found, strict=True):
        assert before.contrast is not None
        assert after.contrast is not None
        assert after.contrast.look is not None
        assert np.array_equal(before.contrast.look, after.contrast.look)
    old = {name: tensor for name, tensor in packed.items() if "look" not in name}
    contrast = unpack_shapes(old, "t")["stain"][0].contrast
    assert isinstance(contrast, Contrast)
    assert contrast.look is None


@pytest.mark.parametrize("on_part", [False, True])
def test_on_a_part_and_across_edges_a_look_is_the_defects_own_colours(on_part: bool) -> None:
    pixels, mask = two_toned()
    if not on_part:
        pixels[:, np.arange(SIZE) % 10 < 4] = 0  # stripes
        pixels[:, np.arange(SIZE) % 10 > 6] = 255
    look = _whole(pixels, mask, on_part)
    assert look.own.all()
    window = np.full((64, 64, 3), 30, np.uint8)
    placed = np.zeros((64, 64), bool)
    placed[10:35, 20:45] = disc(12)
    laid = lay_look(window, placed, look, (10, 20))
    inside = slice(16, 29), slice(26, 39)  # away from the edge, where the surface shines through
    assert np.array_equal(laid[inside], pixels[74:87, 74:87])
    assert (laid[:7] == 30).all()


def test_a_misfit_is_told_by_what_lay_around_the_real_defect() -> None:
    pixels, mask = two_toned()
    look, own_place = _whole(pixels, mask, True), (SIZE // 2 - 12,) * 2
    assert misfit(pixels, disc(12), look, own_place) == 0
    assert misfit(pixels // 2, disc(12), look, own_place) == pytest.approx(53, abs=3)
    assert misfit(pixels, disc(12), look, (-100, 0)) == 0  # all of it lies outside
    assert misfit(pixels // 2, disc(12), _whole(pixels, mask), own_place) == 0  # differences fit anywhere


def test_a_defect_in_its_own_colours_is_placed_where_its_surroundings_fit() -> None:
    """A dark bar lies along the edge of a bright part: elsewhere the outline does not fit."""
    scene = np.full((200, 200, 3), 250, np.uint8)
    scene[20:180, 20:180] = 60
    real, mask = scene.copy(), np.zeros((200, 200), bool)
    mask[60:140, 24:34] = True
    real[mask] = 0
    part = find_part(scene, True)
    given = {"bar": cut_shapes(mask, part, real)}
    assert given["bar"][0].contrast is not None
    assert given["bar"][0].contrast.own
    placer = Placer(given, PlacementOptions(), True)
    lefts = [placer.draw(np.random.default_rng(seed), "bar", scene) for seed in range(12)]
    fits = [_outline_is_dark(scene, one) for one in lefts]
    assert sum(fits) >= 11
    assert len({(one.left, one.top) for one in lefts}) == 12


def test_whose_colours_a_look_has_travels_in_the_table() -> None:
    pixels, mask = two_toned()
    shape_of = {
        on: cut_shapes(mask, Part(~np.zeros((4, 4), bool)) if on else WHOLE, pixels)[0] for on in (0, 1)
    }
    packed = pack_shapes({"stain": [shape_of[0], shape_of[1]]})
    found = [one.contrast for one in unpack_shapes(packed, "t")["stain"]]
    assert [contrast is not None and contrast.own for contrast in found] == [False, True]
    before = {name: tensor for name, tensor in packed.items() if not name.endswith("own_looks")}
    assert not any(one.contrast and one.contrast.own for one in unpack_shapes(before, "t")["stain"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("own_looks", np.zeros(2, np.uint8)),
        ("own_looks", np.full(1, 2, np.uint8)),
        ("own_looks", np.zeros(1, np.int64)),
        ("looks", np.zeros(7, np.uint8)),
        ("looks", np.zeros((2, 2), np.uint8)),
        ("look_sizes", np.zeros((1, 2), np.int32)),
        ("look_sizes", np.full((1, 2), 2**30, np.int32)),
        ("look_sizes", np.ones((2, 2), np.int32)),
        ("look_sizes", np.ones((1, 2), np.int64)),
    ],
)
def test_nothing_of_looks_is_believed(name: str, value: np.ndarray) -> None:
    pixels, mask = two_toned()
    packed = pack_shapes({"stain": cut_shapes(mask, WHOLE, pixels)})
    with pytest.raises(UserError, match=f"t: 'stain/{name}'|t: 'stain/looks'"):
        unpack_shapes({**packed, f"stain/{name}": value}, "t")
    for missing in ("looks", "look_sizes"):
        with pytest.raises(UserError, match=f"stain/{missing}"):
            unpack_shapes({key: tensor for key, tensor in packed.items() if key != f"stain/{missing}"}, "t")


def test_placements_that_are_joined_or_cut_keep_their_looks() -> None:
    pixels, mask = two_toned()
    look = _whole(pixels, mask)
    first, second = Placed(disc(12), 30, 40, look), Placed(disc(12), 70, 45, look)
    both = first.joined(second)
    assert both.look is not None
    assert both.look.values.shape == (both.mask.shape[0] + 2 * EDGE, both.mask.shape[1] + 2 * EDGE, 3)
    middle = both.look.values[EDGE + 12, EDGE + 6].mean()
    assert middle == pytest.approx(look.values[EDGE + 12, EDGE + 6].mean())
    assert first.joined(replace(second, look=None)).look is None
    kept = disc(12).copy()
    kept[:, :13] = False
    part = first.cut(kept)
    assert part.left == 43
    assert part.look is not None
    assert part.look.values[EDGE + 12, EDGE + 4].mean() > 30
    joined = joined_looks([look, look], [first.mask, first.mask], [first.box, first.box])
    inside = np.pad(first.mask, EDGE)
    assert np.array_equal(joined.values[inside], look.values[inside])


def _outline_is_dark(scene: np.ndarray, placed: Placed) -> bool:
    """Whether nothing around a placement is the background."""
    around = grow(placed.full(scene.shape[:2]), EDGE)
    return float((scene[around] > 100).mean()) < 0.03


def _whole(pixels: np.ndarray, mask: np.ndarray, on_part: bool = False) -> Look:
    """The look of a mask's box and the edge around it."""
    packed, own = measure_look(pixels, mask, on_part=on_part)
    spare = margin((25, 25)) - EDGE
    assert Image.fromarray(packed).size == (25 + 2 * (spare + EDGE),) * 2
    inner = packed[spare:-spare, spare:-spare].astype(np.float32)
    return Look(unpacked(inner, own), 106.0, np.full(inner.shape[:2], own))
