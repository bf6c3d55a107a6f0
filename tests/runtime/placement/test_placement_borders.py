"""Defects that a photograph's border cuts off lie at the border of other photographs, too."""

from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.placement.draw import Placer
from seas_runtime.placement.masks.borders import NO_SIDES, Sides, continued, sides_of
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.masks.shapes import Shape, pack_shapes, unpack_shapes
from seas_runtime.placement.options import ANYWHERE, AUTO, PlacementOptions
from seas_runtime.placement.where.foreground import WHOLE

HEIGHT, WIDTH = 120, 160


def photograph(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), 100, np.uint8)


def cut(rows: slice, columns: slice) -> Shape:
    """A darker box on a grey photograph, as a table gives it back."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[rows, columns] = True
    pixels = np.where(mask[..., None], np.uint8(60), photograph())
    table = pack_shapes({"band": cut_shapes(mask, WHOLE, pixels)})
    return unpack_shapes(table, "t")["band"][0]


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (slice(40, 60), slice(50, 90), NO_SIDES),
        (slice(0, 30), slice(50, 90), Sides(top=True)),
        (slice(90, None), slice(None), Sides(left=True, bottom=True, right=True)),
        (slice(None), slice(120, None), Sides(top=True, bottom=True, right=True)),
        (slice(2, 30), slice(2, 30), NO_SIDES),
    ],
)
def test_a_shape_is_cut_off_where_its_mask_ends_at_the_border(
    rows: slice, columns: slice, expected: Sides
) -> None:
    assert sides_of(cut(rows, columns)) == expected


def test_sides_are_mirrored_with_their_shape() -> None:
    sides = Sides(top=True, left=True)
    assert sides.turned(np.array([[-1, 0], [0, 1]], np.float32)) == Sides(top=True, right=True)
    assert sides.turned(np.array([[-1, 0], [0, -1]], np.float32)) == Sides(bottom=True, right=True)


def test_a_shape_goes_on_beyond_its_borders_alone() -> None:
    mask = np.eye(20, dtype=bool)
    longer, beyond = continued(mask, Sides(bottom=True))
    assert (longer.shape, beyond) == ((22, 20), 2)
    assert np.array_equal(longer[:20], mask)
    assert longer[20:, 19].all()
    assert continued(mask, NO_SIDES)[0].shape == mask.shape


@pytest.mark.parametrize("size", [(120, 160), (90, 300), (300, 90), (640, 480)])
def test_a_band_lies_across_any_photograph_again(size: tuple[int, int]) -> None:
    placer = Placer({"band": [cut(slice(84, None), slice(None))]}, PlacementOptions(where=AUTO), False)
    tops = set()
    for seed in range(8):
        placed = placer.draw(np.random.default_rng(seed), "band", photograph(*size))
        mask = placed.full(size)
        columns = mask.any(axis=0)
        assert columns.mean() > 0.97
        at_bottom, at_top = mask[-1].mean(), mask[0].mean()
        assert max(at_bottom, at_top) > 0.95
        assert min(at_bottom, at_top) == 0
        tops.add(at_top > at_bottom)
        assert placed.look is not None
        inside = placed.look.values[2:-2, 2:-2][placed.mask]
        assert np.median(inside) == pytest.approx(-40, abs=3)
    assert tops == {True, False}  # half a turn is as likely


@pytest.mark.parametrize(("where", "background"), [(ANYWHERE, False), (AUTO, True)])
def test_elsewhere_they_are_placed_as_others_are(where: str, background: bool) -> None:
    """Before a background a spot is one on the part; and who says anywhere means it."""
    placer = Placer({"band": [cut(slice(0, 20), slice(60, 100))]}, PlacementOptions(where=where), background)
    tops = [placer.draw(np.random.default_rng(seed), "band", photograph()).top for seed in range(12)]
    assert any(top > 0 for top in tops)


def test_one_at_a_border_stays_there_and_moves_along_it() -> None:
    placer = Placer({"band": [cut(slice(0, 20), slice(60, 100))]}, PlacementOptions(where=AUTO), False)
    placed = [placer.draw(np.random.default_rng(seed), "band", photograph()) for seed in range(12)]
    assert all(one.top == 0 or one.box[2] == HEIGHT for one in placed)
    assert len({one.left for one in placed}) > 6
