"""Placements lie where such a defect may be, in a shape as such defects have."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.errors import UserError
from seas_runtime.photographs.png import encode_png
from seas_runtime.placement.draw import NEAR, Placer
from seas_runtime.placement.masks.sources import ShapeSource
from seas_runtime.placement.options import PlacementOptions, parse_counts, parse_sizes
from tests.runtime.placement.scenes import disc, plate, shape

PART = (40, 60, 200, 260)
SIZE = (240, 320)


def draws(count: int = 30, shapes: Any = None, defect: str = "stain", **options: Any) -> list[np.ndarray]:
    """Return the whole masks of placements on the plate."""
    placer = Placer({"stain": [shape()]} if shapes is None else shapes, PlacementOptions(**options), True)
    return [placer.draw(np.random.default_rng(seed), defect, plate()).full(SIZE) for seed in range(count)]


def centre(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def write(path: Path, mask: np.ndarray) -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(encode_png(mask.astype(np.uint8) * 255))
    return str(path)


def half(right: bool = True) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[:, 160:] = right
    mask[:, :160] = not right
    return mask


def test_auto_is_where_training_defects_lie_on_the_part() -> None:
    """On the plate, which moves about; a rectangle is not taken to itself by most turns."""
    placer = Placer({"stain": [shape(spot=(0.3, 0.7))]}, PlacementOptions(), True)
    for seed in range(12):
        box = (20 + 3 * seed, 10 + 8 * seed, 180 + 3 * seed, 210 + 8 * seed)
        placed = placer.draw(np.random.default_rng(seed), "stain", plate(box=box))
        row, column = centre(placed.full(SIZE))
        spot = (row - box[0]) / 160, (column - box[1]) / 200
        assert (
            min(
                max(abs(spot[0] - down), abs(spot[1] - across))
                for down in (0.3, 0.7)
                for across in (0.3, 0.7)
            )
            < 0.08 + 0.03
        )


def test_on_a_round_part_a_spot_is_turned_with_its_shape() -> None:
    y, x = np.mgrid[:240, :240]
    picture = np.where(((x - 120) ** 2 + (y - 120) ** 2 <= 90**2)[..., None], 60, 220).astype(np.uint8)
    picture = np.repeat(picture, 3, axis=2)
    given = (
        shape(np.ones((20, 10), bool), (240, 240), (0.5, 0.9)),
        shape(np.ones((10, 20), bool), (240, 240), (0.5, 0.9)),
    )
    placer = Placer({"rim": given}, PlacementOptions(), True)
    centres = [
        centre(placer.draw(np.random.default_rng(seed), "rim", picture).full((240, 240)))
        for seed in range(40)
    ]
    away = np.hypot(*(np.array(centres) - 120).T) / 180
    angles = np.arctan2(*(np.array(centres) - 120).T)
    assert abs(away - 0.4).max() < 0.13
    assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() >= 3


def test_photographs_count_alike_and_of_their_parts_the_large_ones() -> None:
    """One photograph has a large part and three crumbs, the other one part."""
    parts = [
        replace(shape(disc(radius), spot=(0.5, 0.5)), share=share)
        for radius, share in ((12, 0.91), (3, 0.03), (3, 0.03), (3, 0.03), (7, 1.0))
    ]
    source = ShapeSource({"stain": parts})
    areas = [int(source.draw(np.random.default_rng(seed), "stain", SIZE).mask.sum()) for seed in range(400)]
    crumbs, middle = (sum(low < area < high for area in areas) / 400 for low, high in ((0, 70), (70, 260)))
    assert crumbs == pytest.approx(0.045, abs=0.03)
    assert middle == pytest.approx(0.5, abs=0.08)


def test_what_sticks_out_of_the_part_is_cut_off_where_training_masks_did_not() -> None:
    part = np.zeros(SIZE, bool)
    part[PART[0] - 2 : PART[2] + 2, PART[1] - 2 : PART[3] + 2] = True
    inner = draws(shapes={"stain": [shape(disc(20), spot=(0.02, 0.5))]})
    assert all(not (mask & ~part).any() for mask in inner)
    assert min(mask.sum() for mask in inner) < 0.93 * disc(20).sum() * 0.8
    outer = draws(shapes={"stain": [shape(disc(20), spot=(0.02, 0.5), inside=0.5)]})
    assert sum((mask & ~part).any() for mask in outer) > 20
    assert all((mask & part).sum() >= 0.3 * mask.sum() for mask in outer)


def test_foreground_and_anywhere() -> None:
    part = np.zeros(SIZE, bool)
    part[PART[0] : PART[2], PART[1] : PART[3]] = True
    on_part = draws(60, where="foreground")
    assert all((mask & part).sum() >= 0.9 * mask.sum() for mask in on_part)
    spread = np.array([centre(mask) for mask in on_part])
    assert np.ptp(spread, axis=0) == pytest.approx((160, 200), rel=0.3)
    somewhere = draws(60, where="anywhere")
    assert sum((mask & ~part).any() for mask in somewhere) > 20
    assert np.array([centre(mask) for mask in somewhere])[:, 1].min() < 40


def test_a_product_without_a_background_is_part_as_a_whole() -> None:
    placer = Placer({"stain": [shape(spot=(0.1, 0.1))]}, PlacementOptions(), False)
    for seed in range(10):
        row, column = centre(placer.draw(np.random.default_rng(seed), "stain", plate()).full(SIZE))
        assert min(row, 240 - row) < 0.19 * 240
        assert min(column, 320 - column) < 0.19 * 320


def test_legal_and_forbidden_areas(tmp_path: Path) -> None:
    right = write(tmp_path / "right.png", half())
    for options in (
        {"where": right},
        {"where": "foreground", "legal": right},
        {"where": "anywhere", "legal": right},
    ):
        assert all(not (mask & ~half()).any() for mask in draws(**options))
    left = write(tmp_path / "left.png", half(False))
    assert all(not (mask & ~half()).any() for mask in draws(where="foreground", forbidden=left))
    with pytest.raises(
        UserError, match=r"found no place .*200 lay outside of the legal area.*Make the legal area"
    ):
        draws(1, where=right, legal=left)
    speck = np.zeros(SIZE, bool)
    speck[100, 100] = True
    with pytest.raises(UserError, match="lay outside of the legal area"):
        draws(1, where=write(tmp_path / "speck.png", speck))
    with pytest.raises(UserError, match=r"lay in the forbidden area\. Make the forbidden area smaller"):
        draws(1, where="anywhere", forbidden=write(tmp_path / "all.png", ~speck))
    small = write(tmp_path / "small.png", half()[:100])
    with pytest.raises(
        UserError, match=r"--legal .*expected the size of the photographs, 320 x 240 pixels, found 320 x 100"
    ):
        draws(1, legal=small)


def test_large_photographs_keep_to_areas_to_the_pixel(tmp_path: Path) -> None:
    """Places are tried in cells of several pixels; an area's edge lies anywhere in them."""
    legal = np.zeros((2400, 3200), bool)
    legal[701:1303, 899:2007] = True
    picture = np.zeros((2400, 3200, 3), np.uint8)
    options = PlacementOptions(where=write(tmp_path / "a.png", legal), source="boxes", sizes=(30, 300))
    placer = Placer({}, options, False)
    for seed in range(40):
        placed = placer.draw(np.random.default_rng(seed), "stain", picture)
        assert legal[placed.box[0] : placed.box[2], placed.box[1] : placed.box[3]].all()


def test_several_in_a_picture_are_seen_in_one_window() -> None:
    counts = set()
    for mask in draws(40, where="foreground", per_picture=(1, 3), shapes={"stain": [shape(disc(6))]}):
        from scipy import ndimage

        counts.add(ndimage.label(mask, np.ones((3, 3)))[1])
        rows, columns = np.nonzero(mask)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 <= NEAR * 13 * 1.4
    assert counts >= {1, 2, 3}


def test_rectangles() -> None:
    boxes = draws(60, source="boxes", sizes=(10, 40), where="anywhere")
    sides = []
    for mask in boxes:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns)
        sides += [len(rows), len(columns)]
    assert 10 <= min(sides) < 14
    assert 30 < max(sides) <= 40
    shapes = {"stain": [shape(np.ones((5, 30), bool)), shape(np.ones((8, 50), bool))]}
    like = draws(40, source="boxes", shapes=shapes, where="anywhere")
    heights, widths = zip(
        *[(np.ptp(np.nonzero(m)[0]) + 1, np.ptp(np.nonzero(m)[1]) + 1) for m in like], strict=True
    )
    assert (min(heights), max(heights)) == (5, 8)
    assert 30 <= min(widths) < 35 < 45 < max(widths) <= 50
    with pytest.raises(
        UserError, match=r"no training masks of 'cut' to take sizes from\. Give them: --box-sizes"
    ):
        draws(1, source="boxes", defect="cut")


def test_masks_of_ones_own(tmp_path: Path) -> None:
    cross = np.zeros((30, 30), bool)
    cross[14:16] = cross[:, 10:12] = True
    write(tmp_path / "masks/stain/a.png", cross)
    write(tmp_path / "masks/b.png", disc(3))
    own = draws(source=str(tmp_path / "masks"), where="anywhere")
    assert {mask.sum() for mask in own} == {cross.sum()}
    others = draws(source=str(tmp_path / "masks"), where="anywhere", defect="cut")
    assert {mask.sum() for mask in others} == {disc(3).sum()}
    with pytest.raises(UserError, match=r"expected shapes, boxes or a folder of masks, found nothing"):
        draws(1, source=str(tmp_path / "nowhere"))
    write(tmp_path / "large/a.png", np.ones((241, 20), bool))
    with pytest.raises(UserError, match=r"a\.png: expected a mask no larger than the photograph, 320 x 240"):
        draws(1, source=str(tmp_path / "large"))
    write(tmp_path / "black/a.png", np.zeros((20, 20), bool))
    with pytest.raises(UserError, match=r"a\.png: expected a mask, found none"):
        draws(1, source=str(tmp_path / "black"))


def test_masks_that_have_a_place_keep_it(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[101:121, 33:54] = disc(10)[:20]
    source = str(Path(write(tmp_path / "masks/a.png", mask)).parent)
    assert all(np.array_equal(found, mask) for found in draws(3, source=source, where="given"))
    with pytest.raises(UserError, match="lay in the forbidden area"):
        draws(1, source=source, where="given", forbidden=write(tmp_path / "left.png", half(False)))
    write(tmp_path / "cut/a.png", disc(5))
    with pytest.raises(UserError, match="--where given: expected masks of the photograph's size, 320 x 240"):
        draws(1, source=str(tmp_path / "cut"), where="given")


def test_why_none_fits() -> None:
    with pytest.raises(UserError, match=r"a mask of 'stain' on a photograph of 320 x 240 .*200 were larger"):
        draws(1, source="boxes", sizes=(330, 400))
    with pytest.raises(
        UserError, match=r"expected training masks of 'cut' in the bundle, found those of stain"
    ):
        draws(1, defect="cut")
    with pytest.raises(UserError, match=r"found those of no defect\. Give --placement-source boxes"):
        draws(1, shapes={})
    with pytest.raises(UserError, match=r"200 lay off the part\. Give --where anywhere"):
        draws(1, shapes={"stain": [shape(spot=(-1.0, 0.5))]})


def test_the_same_numbers_give_the_same_placement() -> None:
    one, other = draws(5, per_picture=(1, 3)), draws(5, per_picture=(1, 3))
    assert all(map(np.array_equal, one, other))


def test_twenty_megapixels_cost_little() -> None:
    picture = np.random.default_rng(0).integers(60, 80, (4000, 5000, 3)).astype(np.uint8)
    picture[:300] = picture[-300:] = 220
    picture[:, :300] = picture[:, -300:] = 220
    placer = Placer({"stain": [shape(disc(6), (4000, 5000))]}, PlacementOptions(), True)
    started = time.process_time()
    placed = placer.draw(np.random.default_rng(0), "stain", picture)
    assert time.process_time() - started < 3
    assert max(placed.mask.shape) < 25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"where": ""}, "--where: expected auto, foreground, .* or a file"),
        ({"per_picture": (0, 1)}, "--per-picture: expected .*found 0:1"),
        ({"per_picture": (3, 1)}, "--per-picture: .*give the lower one first"),
        ({"per_picture": (1, 2.5)}, "--per-picture: expected a number"),
        ({"per_picture": "1:3"}, "--per-picture: expected a number"),
        ({"per_picture": (True, True)}, "--per-picture: expected a number"),
        ({"sizes": (5, 10)}, "--box-sizes: are of --placement-source boxes"),
        ({"sizes": (0, 10), "source": "boxes"}, "--box-sizes: expected pixels"),
        ({"sizes": (1, float("nan")), "source": "boxes"}, "--box-sizes: expected pixels"),
        ({"legal": 3}, "--legal: expected a mask picture"),
        ({"where": "given"}, "--where given: masks of a folder alone"),
    ],
)
def test_options_say_what_is_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PlacementOptions(**values)


def test_options_as_json() -> None:
    options = PlacementOptions("foreground", (1, 3), "boxes", (10, 60.5), None, "f.png")
    values = options.to_dict()
    assert values == {
        "where": "foreground",
        "per_picture": [1, 3],
        "source": "boxes",
        "sizes": [10, 60.5],
        "forbidden": "f.png",
    }
    assert PlacementOptions.from_dict(values) == options
    assert PlacementOptions().to_dict() == {}
    with pytest.raises(UserError, match="found 'other'"):
        PlacementOptions.from_dict({"other": 1})
    assert parse_counts("2") == (2, 2)
    assert parse_counts("1:3") == (1, 3)
    assert parse_sizes("10.5:60") == (10.5, 60)
    for text in ("", "x", "1:", ":2", "1:2:3", "nan", "1e999"):
        with pytest.raises(UserError, match="--per-picture: expected"):
            parse_counts(text)
    with pytest.raises(UserError, match="--per-picture: expected"):
        parse_counts("1.5")


def test_grabcut_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"--where grabcut: needs OpenCV.*opencv"):
        draws(1, where="grabcut")


def test_grabcut_finds_the_part() -> None:
    pytest.importorskip("cv2", reason="the extra `opencv` is not installed")
    part = np.zeros(SIZE, bool)
    part[PART[0] : PART[2], PART[1] : PART[3]] = True
    found = Placer({}, PlacementOptions("grabcut"), True).part(plate()).on(SIZE)
    assert (found & part).sum() / (found | part).sum() > 0.95


@pytest.mark.parametrize("is_round", [True, False])
def test_on_a_round_part_even_a_single_defect_lies_all_around(is_round: bool) -> None:
    """One shape has one direction: it says nothing of others, and the part's form does."""
    scene = np.full((240, 240, 3), 200, np.uint8)
    scene[20:221, 20:221][disc(100) if is_round else np.ones((201, 201), bool)] = 60
    bar = shape(np.ones((10, 40), bool), (240, 240), (0.15, 0.5))
    placer = Placer({"stain": [bar]}, PlacementOptions(), True)
    angles = []
    for seed in range(24):
        row, column = centre(placer.draw(np.random.default_rng(seed), "stain", scene).full((240, 240)))
        angles.append(np.arctan2(row - 120, column - 120))
    quarters = {int((angle + np.pi / 4) % (2 * np.pi) // (np.pi / 2)) for angle in angles}
    assert quarters == ({0, 1, 2, 3} if is_round else {1, 3})
