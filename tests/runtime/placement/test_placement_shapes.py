"""Shapes are cut from training masks, travel in a table, and nothing of a table is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from seas_runtime.errors import UserError
from seas_runtime.placement.appearance.contrast import Contrast
from seas_runtime.placement.masks import shapes as module
from seas_runtime.placement.masks.cutting import cut_shapes
from seas_runtime.placement.masks.shapes import LARGEST, Shape, has_background, pack_shapes, unpack_shapes
from seas_runtime.placement.where.foreground import WHOLE, find_part
from tests.runtime.placement.scenes import disc, plate, shape

Table = dict[str, np.ndarray]


def table() -> Table:
    return pack_shapes(
        {"stain": [shape(), shape(np.ones((3, 5), bool))], "cut": [shape(spot=(1.2, -0.1))]}, True
    )


def test_shapes_come_back_as_they_were() -> None:
    given = {
        "stain": [shape(), replace(shape(np.ones((1, 1), bool), (7, 9), (0.5, 1.5), 0.25), share=0.125)],
        "cut": [shape(disc(33))],
    }
    packed = pack_shapes(given)
    found = unpack_shapes(packed, "t")
    assert has_background(packed) is None
    assert has_background(pack_shapes(given, True)) is True
    assert has_background(pack_shapes(given, False)) is False
    assert packed["stain/bits"].nbytes == (21 * 21 + 7) // 8 + 1
    for defect, shapes in given.items():
        for before, after in zip(shapes, found[defect], strict=True):
            assert np.array_equal(before.mask, after.mask)
            assert after.photograph == before.photograph
            assert after.spot == pytest.approx(before.spot)
            assert after.inside == pytest.approx(before.inside)
            assert after.contrast is None
            assert after.share == pytest.approx(before.share)
    del packed["stain/shares"]  # a table of before there were any
    assert [one.share for one in unpack_shapes(packed, "t")["stain"]] == [1, 1]


def test_contrasts_come_back_where_all_shapes_of_a_defect_have_one() -> None:
    contrast = Contrast(np.array([10, 20.5, 30], np.float32), np.array([255, 0, 90], np.float32))
    known = replace(shape(), contrast=contrast)
    found = unpack_shapes(pack_shapes({"stain": [known, known], "cut": [known, shape()]}), "t")
    assert [one.contrast for one in found["cut"]] == [None, None]
    for one in found["stain"]:
        assert one.contrast is not None
        assert np.array_equal(one.contrast.inside, contrast.inside)
        assert np.array_equal(one.contrast.around, contrast.around)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.zeros((2, 2, 3), np.float64), r"expected float32 \[2, 2, 3\], found float64"),
        (np.zeros((1, 2, 3), np.float32), r"expected float32 \[2, 2, 3\], found float32 \[1, 2, 3\]"),
        (np.full((2, 2, 3), np.nan, np.float32), "expected 0 to 255"),
        (np.full((2, 2, 3), 256, np.float32), "expected 0 to 255"),
    ],
)
def test_contrasts_are_not_believed(found: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        unpack_shapes({**table(), "stain/contrasts": found}, "t")


def test_a_table_may_be_empty() -> None:
    assert unpack_shapes({}, "t") == {}
    assert pack_shapes({"stain": []}) == {}


def changed(key: str, change: Callable[[np.ndarray], Any]) -> Callable[[Table], Any]:
    def attack(values: Table) -> None:
        values[key] = np.asarray(change(values[key].copy()))

    return attack


def at(place: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


HOSTILE: dict[str, tuple[Callable[[Table], Any], str]] = {
    "a tensor is missing": (lambda t: t.pop("stain/spots"), "no tensor 'stain/spots'"),
    "a tensor too many": (lambda t: t.update({"stain/more": t["stain/bits"]}), "'stain/more' is no tensor"),
    "a defect that is a path": (
        lambda t: t.update({"../x/bits": t["stain/bits"]}),
        "expected tensors DEFECT/bits",
    ),
    "a name without a slash": (lambda t: t.update({"bits": t["stain/bits"]}), "expected tensors DEFECT/bits"),
    "normals": (lambda t: t.update({"good/bits": t["stain/bits"]}), "expected tensors DEFECT/bits"),
    "bits of another type": (changed("stain/bits", lambda a: a.astype(np.int64)), "expected uint8"),
    "bits too few": (changed("stain/bits", lambda a: a[:-1]), "expected 58 bytes .* found 57"),
    "bits too many": (changed("stain/bits", lambda a: np.append(a, a[:1])), "expected 58 bytes .* found 59"),
    "no row": (changed("stain/sizes", lambda a: a[:0]), "expected 1 to"),
    "rows differ": (changed("stain/inside", lambda a: a[:1]), "inside: expected 2 rows, found 1"),
    "three columns": (changed("stain/sizes", lambda a: np.hstack([a, a[:, :1]])), r"expected int32 \[n, 2\]"),
    "a size of nothing": (changed("stain/sizes", at((0, 0), 0)), "masks of at least one pixel"),
    "a negative size": (changed("stain/sizes", at((0, 0), -21)), "masks of at least one pixel"),
    "sizes that overflow": (changed("stain/sizes", at(0, 2**31 - 1)), "not larger than their photographs"),
    "a huge photograph": (changed("stain/photographs", at(0, 2**31 - 1)), "of at most .* pixels a side"),
    "a mask larger than its photograph": (changed("stain/photographs", at((0, 1), 20)), "not larger than"),
    "a spot far away": (changed("stain/spots", at((0, 0), 1e30)), "spots: expected places"),
    "a spot that is no number": (changed("stain/spots", at((0, 0), np.nan)), "spots: expected places"),
    "a share of two": (changed("stain/inside", at(0, 2)), "inside: expected shares"),
    "a share that is no number": (changed("stain/inside", at(0, np.nan)), "inside: expected shares"),
    "a share of a mask above one": (changed("stain/shares", at(0, 1.5)), "expected 0 to 1, found others"),
    "a share of nothing": (changed("stain/shares", at(1, 0)), "expected shares above 0, found 0"),
    "a share of a mask that is no number": (
        changed("stain/shares", at(0, np.nan)),
        "expected 0 to 1, found others",
    ),
    "shares of other shapes": (
        changed("stain/shares", lambda a: a[:1]),
        r"float32 \[2\], found float32 \[1\]",
    ),
    "shares in another type": (
        changed("stain/shares", lambda a: a.astype(int)),
        r"float32 \[2\], found int64",
    ),
    "an empty mask": (changed("stain/bits", lambda a: a * 0), "expected masks cut to their boxes"),
    "an odd background": (
        lambda t: t.update(background=np.array([2], np.uint8)),
        "expected uint8 \\[1\\], 0 or 1",
    ),
    "backgrounds": (lambda t: t.update(background=np.zeros(2, np.uint8)), "expected uint8 \\[1\\]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_table_is_refused(name: str) -> None:
    attack, message = HOSTILE[name]
    values = table()
    unpack_shapes(values, "tables/placement.safetensors")
    attack(values)
    with pytest.raises(UserError, match=rf"^tables/placement\.safetensors.*{message}"):
        unpack_shapes(values, "tables/placement.safetensors")


def test_masks_that_would_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIXELS", 500)
    with pytest.raises(UserError, match="at most 500 pixels in all masks"):
        unpack_shapes(table(), "t")


def test_where_a_training_defect_lay_is_told_by_the_part() -> None:
    """The plate's box is rows 40 to 200 and columns 60 to 260."""
    mask = np.zeros((240, 320), bool)
    mask[70:90, 200:220] = disc(10)[:20, :20]
    (found,) = cut_shapes(mask, find_part(plate(), True))
    assert found.mask.shape == (20, 20)
    assert found.photograph == (240, 320)
    assert found.spot == pytest.approx(((80 - 40) / 160, (210 - 60) / 200), abs=0.02)
    assert found.inside == 1
    (whole,) = cut_shapes(mask, WHOLE)
    assert whole.spot == pytest.approx((80 / 240, 210 / 320))
    mask = np.roll(mask, -150, axis=1)  # columns 50 to 70: half of it lies on the part
    (half,) = cut_shapes(mask, find_part(plate(), True))
    assert half.inside == pytest.approx(0.5, abs=0.1)


def test_distant_parts_of_a_mask_are_shapes_of_their_own() -> None:
    mask = np.zeros((600, 800), bool)
    mask[10:31, 10:31] = disc(10)
    mask[10:31, 38:59] = disc(10)  # near the first: one defect in two pieces
    mask[400:421, 500:521] = disc(10)
    mask[300, 300] = True  # a stroke of the pen
    assert cut_shapes(np.zeros((5, 5), bool), WHOLE) == []
    found = sorted(cut_shapes(mask, WHOLE), key=lambda one: one.mask.shape)
    assert [one.mask.shape for one in found] == [(21, 21), (21, 49)]
    assert sum(one.mask.sum() for one in found) == 3 * disc(10).sum()
    assert [one.share for one in found] == pytest.approx([1 / 3, 2 / 3], abs=0.02)


def test_large_masks_are_kept_small_with_their_photographs() -> None:
    mask = np.zeros((3000, 5000), bool)
    mask[100:2600, 400:4500] = True
    (found,) = cut_shapes(mask, WHOLE)
    assert max(found.mask.shape) == LARGEST
    assert found.mask.all()
    assert found.relative == pytest.approx((2500 / 3000, 4100 / 5000), rel=0.01)
    assert found.scale_on((3000, 5000)) == pytest.approx(4100 / LARGEST, rel=0.01)


def test_a_shape_is_as_large_on_a_photograph_of_another_size() -> None:
    assert Shape(disc(4), (100, 200), (0.5, 0.5), 1).scale_on((300, 600)) == pytest.approx(3)
