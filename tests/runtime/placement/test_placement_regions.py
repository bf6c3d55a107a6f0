"""Windows at the photograph's own resolution, and pasting back without touching anything else."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from seas_runtime.errors import UserError
from seas_runtime.photographs.values import Values
from seas_runtime.placement.paste import feather, paste
from seas_runtime.placement.regions import (
    SMALLEST,
    SPARE,
    Placed,
    Region,
    region_around,
    resize_mask,
    resize_pixels,
    scale_mask,
)
from tests.runtime.placement.scenes import disc

SIZES = [(300, 400), (40, 30), (60, 900), (48, 48)]


def test_a_placement_on_its_photograph() -> None:
    mask = np.zeros((50, 60), bool)
    mask[10:31, 20:41] = disc(10)
    placed = Placed.of(mask)
    assert placed.box == (10, 20, 31, 41)
    assert np.array_equal(placed.full((50, 60)), mask)
    other = np.zeros((50, 60), bool)
    other[0, 59] = other[49, 0] = True
    assert np.array_equal(placed.joined(Placed.of(other)).full((50, 60)), mask | other)
    with pytest.raises(UserError, match="expected a defect, found none"):
        Placed.of(mask & False)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_window_holds_the_box_and_lies_in_the_photograph_where_it_fits(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        top, left = int(random.integers(size[0] - 3)), int(random.integers(size[1] - 3))
        bottom, right = int(random.integers(top + 1, size[0])), int(random.integers(left + 1, size[1]))
        region = region_around(random, (top, left, bottom, right), size, 64)
        longest = max(bottom - top, right - left)
        assert region.left <= left < right <= region.left + region.side
        assert region.top <= top < bottom <= region.top + region.side
        assert region.side >= max(SMALLEST, longest)
        if SPARE * longest + 1 <= min(size) and min(size) >= SMALLEST:
            assert region.side <= min(size)
            assert 0 <= region.left <= size[1] - region.side
            assert 0 <= region.top <= size[0] - region.side
        for start, length in ((region.top, size[0]), (region.left, size[1])):
            assert start >= 0 or start + region.side >= length  # never out on one side with room on the other
            assert region.cut(np.zeros(size)).shape == (region.side, region.side)


def test_the_ratio_and_the_jitter() -> None:
    random = np.random.default_rng(1)
    box = (1000, 2000, 1080, 2100)
    found = [region_around(random, box, (4000, 5000), 10, (2.0, 4.0)) for _ in range(200)]
    sides = np.array([region.side for region in found])
    assert 200 <= sides.min() < 215
    assert 370 < sides.max() <= 400
    off = np.array([2050 - (region.left + region.side / 2) for region in found]) / (sides - 100) * 2
    assert -0.52 < off.min() < -0.35
    assert 0.35 < off.max() < 0.52
    near = [region_around(random, box, (4000, 5000), 300, (2.5, 3.5)).side for _ in range(50)]
    assert near.count(300) > 20  # nothing is resampled where the side is nearly the base's


def test_what_lies_outside_of_the_photograph_repeats_its_border() -> None:
    pixels = np.arange(20 * 30 * 3).reshape(20, 30, 3)
    region = Region(-4, -9, 40)
    expected = np.pad(pixels, ((9, 11), (4, 6), (0, 0)), mode="edge")
    assert np.array_equal(region.cut(pixels), expected)
    assert region.inside((20, 30)) == (9, 4, 29, 34)
    assert np.array_equal(Region(5, 2, 10).cut(pixels[..., 0]), pixels[2:12, 5:15, 0])


def test_the_part_of_a_placement_in_a_window() -> None:
    mask = np.zeros((50, 60), bool)
    mask[10:31, 20:41] = disc(10)
    placed = Placed.of(mask)
    for region in (Region(0, 0, 50), Region(25, 15, 10), Region(-5, -7, 40), Region(45, 40, 10)):
        expected = region.cut(np.pad(mask, 0))
        inside = np.zeros_like(expected)
        top, left, bottom, right = region.inside((50, 60))
        inside[top:bottom, left:right] = expected[top:bottom, left:right]
        assert np.array_equal(region.cut_mask(placed), inside)


def test_masks_are_scaled_by_how_much_they_cover() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:6, :8] = True  # three quarters of a cell of eight
    mask[32:34, 40:48] = True  # a quarter of one
    assert np.argwhere(scale_mask(mask, (8, 8))).tolist() == [[0, 0]]
    assert np.argwhere(resize_mask(mask, 8)).tolist() == [[0, 0], [4, 5]]  # thinner than a cell
    faint = np.zeros((64, 64), bool)
    faint[9, 17] = True
    assert np.argwhere(resize_mask(faint, 8)).tolist() == [[1, 2]]
    assert not resize_mask(np.zeros((64, 64), bool), 8).any()
    assert resize_mask(np.ones((5, 5), bool), 20).all()
    assert scale_mask(disc(10), (84, 42)).sum() == pytest.approx(disc(10).sum() * 8, rel=0.05)


def test_scaling_down_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.abs(resize_pixels(stripes, 8).astype(int) - 127.5).max() < 6
    colour = np.repeat(stripes[..., None], 3, axis=2)
    assert resize_pixels(colour, 64) is colour
    assert resize_pixels(colour, 100).shape == (100, 100, 3)


@pytest.mark.parametrize("side", [64, 300, 1500])
def test_the_feather(side: int) -> None:
    mask = np.zeros((64, 64), bool)
    mask[20:41, 24:45] = disc(10)
    width = side / 8
    weights = feather(mask, side, width)
    large = np.kron(mask, np.ones((side // 64 + 1,) * 2, bool))[
        np.ix_(*[np.arange(side) * (64 * (side // 64 + 1)) // side] * 2)
    ]
    distance = ndimage.distance_transform_edt(~large)
    assert (weights[large] == 1).mean() > 0.97  # but for the outline of the coarser mask
    assert (weights[distance > 2.3 * width + 2 * side / 64] == 0).all()
    assert ((weights > 0) & (weights < 1)).any()
    steps = np.abs(np.diff(weights, axis=0)).max()
    assert steps < 4 / width + 0.02


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_beyond_the_feather_every_pixel_is_the_photographs_own(dtype: str, channels: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    most = np.iinfo(dtype).max
    pixels = random.integers(0, most + 1, (90, 120, *channels)).astype(dtype)
    before = pixels.copy()
    region, drawn = Region(70, -10, 60), np.full((32, 32, 3), 90, np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[20:41, 20:41] = disc(10)
    made, weights = paste(pixels, region, drawn, mask, Values())
    assert np.array_equal(pixels, before)
    assert made.dtype == pixels.dtype
    assert made.shape == pixels.shape
    share = np.zeros((90, 120))
    top, left, bottom, right = region.inside((90, 120))
    share[region.top + top : region.top + bottom, region.left + left : region.left + right] = weights[
        top:bottom, left:right
    ]
    outside = share == 0
    assert outside.mean() > 0.5
    assert np.array_equal(made[outside], pixels[outside])
    whole = share == 1
    assert whole.sum() > 200
    if channels in ((), (3,)):
        assert (made[whole] == round(90 / 255 * most)).all()
        assert (made[~outside & ~whole] != pixels[~outside & ~whole]).mean() > 0.8
    else:
        assert np.array_equal(made[..., -1], pixels[..., -1])
        assert (made[whole] != pixels[whole])[..., :-1].mean() > 0.8


@pytest.mark.parametrize(("dtype", "depth"), [("uint8", 16), ("uint16", 16), ("uint16", 12)])
def test_only_what_changed_is_pasted(dtype: str, depth: int) -> None:
    """Where the base gave the window back as it always does, the photograph keeps its grain."""
    most = 255 if dtype == "uint8" else 2**depth - 1
    pixels = np.random.default_rng(0).integers(most // 4, most // 2, (90, 120)).astype(dtype)
    region, mask = Region(30, 20, 60), np.zeros((60, 60), bool)
    mask[20:41, 20:41] = disc(10)
    rebuilt = np.full((60, 60, 3), 80, np.uint8)  # smooth, and not of the photograph's brightness
    drawn = rebuilt.copy()
    drawn[30:, :30] += 40
    drawn[30:, 30:] = 255
    made, weights = paste(pixels, region, drawn, mask, Values(depth), None, rebuilt)
    added = made[20:80, 30:90].astype(int) - pixels[20:80, 30:90]
    assert not added[:30].any()
    whole = weights == 1
    whole[:30] = False
    assert np.abs(added[:, :30][whole[:, :30]] - 40 / 255 * most).max() <= 1 + most / 255 / 100
    bright = made[20:80, 60:90][whole[:, 30:]]
    assert bright.max() == most  # not beyond what the camera gives
    assert len(bright) > 50


def test_a_window_whose_edge_cuts_the_feather_shows_no_edge() -> None:
    pixels = np.zeros((200, 200), np.uint8)
    region = Region(100, 50, 64)
    mask = np.zeros((64, 64), bool)
    mask[:30] = True  # up to three edges of the window
    made, weights = paste(pixels, region, np.full((64, 64, 3), 255, np.uint8), mask, Values())
    assert weights[0].max() == weights[:, 0].max() == weights[:, -1].max() == 0
    assert np.abs(np.diff(made.astype(int), axis=0)).max() < 60
    at_the_border = Region(0, 50, 64)  # nothing of the photograph lies left of it
    _, weights = paste(pixels, at_the_border, np.full((64, 64, 3), 255, np.uint8), mask, Values())
    assert weights[15, 0] == 1


def test_a_twenty_megapixel_photograph_in_sixteen_bits() -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (4000, 5000)).astype(np.uint16)
    mask = np.zeros((48, 48), bool)
    mask[20:32, 20:32] = True
    made, weights = paste(pixels, Region(1000, 900, 48), np.zeros((512, 512, 3), np.uint8), mask, Values(12))
    changed = made != pixels
    assert (weights == 1).sum() >= 144
    assert changed.sum() <= (weights > 0).sum()
    assert not changed[:900].any()


@pytest.mark.parametrize("width", [2, 5, 16, 40])
def test_a_line_stays_a_line_in_a_smaller_mask(width: int) -> None:
    picture = Image.new("1", (1600, 1600))
    ImageDraw.Draw(picture).line([(100, 300), (1500, 900)], fill=1, width=width)
    mask = np.asarray(picture)
    small = resize_mask(mask, 100)
    columns = small[:, 8:92]
    assert columns.any(axis=0).all()  # no gap
    assert columns.sum(axis=0).mean() <= max(2.0, 1.3 * width / 16 + 0.5)  # and no thicker than it has to be
    assert mask.reshape(100, 16, 100, 16).any(axis=(1, 3))[small].all()


def test_a_thick_mask_is_cut_at_its_half_and_dust_is_not_drawn() -> None:
    y, x = np.mgrid[:1600, :1600]
    round_ = (y - 800) ** 2 + (x - 700) ** 2 <= 333**2
    assert np.array_equal(resize_mask(round_, 100), round_.reshape(100, 16, 100, 16).mean(axis=(1, 3)) >= 0.5)
    dusty = round_.copy()
    dusty[100:103, 100:103] = True
    assert np.array_equal(resize_mask(dusty, 100), resize_mask(round_, 100))
