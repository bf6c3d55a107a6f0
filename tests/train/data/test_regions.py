"""Regions: where they lie, what is seen in them, and when they are trained on."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data import (
    Fit,
    Kind,
    Pair,
    PhotographsConfig,
    Product,
    Regions,
    inspect_product,
    load_product,
)
from seas_train.data.regions import parts_of
from seas_train.data.split import regions_of
from seas_train.settings import overlay
from tests.train.data.product_folders import photograph, save

ON = PhotographsConfig(regions=Regions.ON)
Boxes = list[tuple[int, int, int, int]]  # left, top, width, height


def write_product(folder: Path, size: tuple[int, int], masks: list[Boxes], normals: int = 3) -> Path:
    """Normals of (width, height), and a pair of `dent` for each list of boxes, which are painted white."""
    picture = np.asarray(photograph(3, (max(1, size[0] // 4), max(1, size[1] // 4))).resize(size)) // 2
    for index in range(normals):
        save(Image.fromarray(np.roll(picture, 3 * index, axis=0)), folder / f"train/good/{index}.png")
        save(Image.fromarray(np.roll(picture, 5 + 3 * index, axis=1)), folder / f"test/good/{index}.png")
    for index, boxes in enumerate(masks):
        mask, shown = np.zeros((size[1], size[0]), np.uint8), picture.copy()
        for left, top, width, height in boxes:
            mask[top : top + height, left : left + width] = 255
        shown[mask > 0] = 255
        save(Image.fromarray(shown), folder / f"test/dent/{index}.png")
        save(Image.fromarray(mask), folder / f"ground_truth/dent/{index}.png")
    return folder


def marked(pair: Pair) -> NDArray[np.bool_]:
    return np.asarray(Image.open(pair.mask)) > 0


def every_pair(product: Product) -> list[Pair]:
    return [pair for defect in product.defects for pair in defect.train]


def test_regions_hold_their_defect_and_lie_inside(tmp_path: Path) -> None:
    boxes: list[Boxes] = [[(0, 0, 20, 8)], [(300, 100, 12, 60)], [(380, 290, 20, 10)], [(150, 150, 1, 1)]]
    config = PhotographsConfig(regions=Regions.ON, shots=4, regions_per_pair=9)
    product = load_product(write_product(tmp_path / "part", (400, 300), boxes), config, size=64)
    for pair, [(left, top, width, height)] in zip(every_pair(product), boxes, strict=True):
        views = product.pair_views(pair)
        assert len(views) == 9
        assert len(set(views)) > 5
        for view in views:
            region = view.region
            assert region is not None
            longest = max(width, height)
            assert max(48, 1.5 * longest - 1) <= region.side <= max(64, 6 * longest + 1)
            assert region.left <= left
            assert region.top <= top
            assert left + width <= region.left + region.side <= 400
            assert top + height <= region.top + region.side <= 300
            assert min(region.left, region.top) >= 0
            assert product.mask(pair, region).any()
    middles = {
        (view.region.left - 300, view.region.top - 100)
        for view in product.pair_views(every_pair(product)[1])
        if view.region is not None
    }
    assert len(middles) > 4  # the defect lies in another place of each


def test_what_is_seen_is_the_photograph_resized(tmp_path: Path) -> None:
    """Against a plain crop by Pillow."""
    product = load_product(write_product(tmp_path / "part", (400, 300), [[(100, 100, 30, 30)]]), ON, size=64)
    [pair] = every_pair(product)
    for view in product.pair_views(pair):
        assert view.region is not None
        box = (view.region.left, view.region.top, *(2 * (view.region.side,)))
        box = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        with Image.open(pair.image) as picture:
            expected = picture.convert("RGB").crop(box).resize((64, 64), Image.Resampling.BICUBIC)
        assert np.array_equal(product.image(pair.image, view.region), np.asarray(expected))
        seen = product.mask(pair, view.region)
        window = marked(pair)[box[1] : box[3], box[0] : box[2]]
        assert seen.mean() == pytest.approx(window.mean(), rel=0.2)
        bright = np.asarray(expected).min(axis=-1) > 190  # the defect is white, all else under 128
        assert (seen & bright).sum() > 0.9 * (seen | bright).sum()


def test_photographs_smaller_than_a_region_repeat_their_border(tmp_path: Path) -> None:
    product = load_product(write_product(tmp_path / "part", (40, 30), [[(30, 0, 10, 30)]]), ON, size=32)
    [pair] = every_pair(product)
    for view in product.pair_views(pair):
        assert view.region is not None
        assert view.region.side == 48
        pixels = np.asarray(Image.open(pair.image).convert("RGB"))
        rows = np.arange(view.region.top, view.region.top + 48).clip(0, 29)
        columns = np.arange(view.region.left, view.region.left + 48).clip(0, 39)
        repeated = Image.fromarray(pixels[rows][:, columns]).resize((32, 32), Image.Resampling.BICUBIC)
        assert np.array_equal(product.image(pair.image, view.region), np.asarray(repeated))
        assert product.mask(pair, view.region)[:, -4:].all()  # it touches the border, and is repeated too


def test_every_part_far_from_the_others_has_regions(tmp_path: Path) -> None:
    boxes = [
        (10, 10, 12, 12),
        (380, 10, 12, 12),
        (200, 380, 12, 12),
        (215, 385, 6, 6),
    ]  # the last two are one
    product = load_product(write_product(tmp_path / "part", (400, 400), [boxes]), ON, size=64)
    [pair] = every_pair(product)
    seen = [0, 0, 0]
    for view in product.pair_views(pair):
        assert view.region is not None
        for index, (left, top, width, height) in enumerate(boxes[:3]):
            inside = view.region.left <= left <= left + width <= view.region.left + view.region.side
            seen[index] += (
                inside and view.region.top <= top <= top + height <= view.region.top + view.region.side
            )
    assert seen == [2, 2, 2]


def test_a_mask_of_many_parts_gives_each_a_region_up_to_a_limit(tmp_path: Path) -> None:
    boxes = [(60 + 100 * x, 60 + 100 * y, 4, 4) for x in range(4) for y in range(4)]
    folder = write_product(tmp_path / "part", (460, 460), [boxes])
    counts = []
    for wanted in (3, 6):
        config = PhotographsConfig(regions=Regions.ON, regions_per_pair=wanted)
        product = load_product(folder, config, size=64)
        counts.append(len(product.pair_views(every_pair(product)[0])))
    assert counts == [12, 16]


def test_parts_are_what_lies_together() -> None:
    """Against boxes that are drawn and known."""
    mask = np.zeros((600, 900), bool)
    mask[0:5, 0:200] = True  # a scratch along the border
    mask[90:95, 180:200] = True  # nearer to it than half of its length
    mask[500:520, 500:510] = True
    mask[520:530, 510:520] = True  # touches a corner
    mask[599, 899] = True
    found = parts_of(mask)
    assert [(p.left, p.top, p.right, p.bottom, p.pixels) for p in found] == [
        (0, 0, 200, 95, 1100),
        (500, 500, 520, 530, 300),
        (899, 599, 900, 600, 1),
    ]
    assert parts_of(np.zeros((4, 4), bool)) == ()
    specks = np.zeros((3000, 3000), bool)
    specks[::40, ::40] = True  # thousands, each nearer than 24 pixels on its grid
    [whole] = parts_of(specks)
    assert (whole.left, whole.top, whole.right, whole.bottom) == (0, 0, 2961, 2961)
    assert whole.pixels == specks.sum()


def by_search(mask: NDArray[np.bool_]) -> list[list[int]]:
    """Parts [top, left, bottom, right, pixels], pixel by pixel and pair by pair."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    found = []
    while left:
        pending, piece = [left.pop()], []
        while pending:
            y, x = pending.pop()
            piece.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            pending += near
        ys, xs = [y for y, _ in piece], [x for _, x in piece]
        found.append([min(ys), min(xs), max(ys) + 1, max(xs) + 1, len(piece)])
    while True:
        for a, b in itertools.combinations(found, 2):
            gap = max(0, *(max(a[i], b[i]) - min(a[i + 2], b[i + 2]) for i in (0, 1)))
            if gap <= max(24, max(c[i + 2] - c[i] for c in (a, b) for i in (0, 1)) // 2):
                found = [c for c in found if c is not a and c is not b]
                low, high = [min(a[i], b[i]) for i in (0, 1)], [max(a[i], b[i]) for i in (2, 3)]
                found.append([*low, *high, a[4] + b[4]])
                break
        else:
            return sorted(found)


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_those_of_a_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((128, 128), bool)
    for _ in range(random.integers(1, 8)):
        (y, x), (height, width) = random.integers(0, 118, 2), random.integers(1, 10, 2)
        mask[y : y + height, x : x + width] = random.random((height, width)) < 0.9
    assert [[*part.box, part.pixels] for part in parts_of(mask)] == by_search(mask)


def test_regions_of_normals_lie_where_defects_do_and_elsewhere(tmp_path: Path) -> None:
    masks: list[Boxes] = [[(300, 40, 16, 16)], [(310, 50, 16, 16)]]
    config = PhotographsConfig(regions=Regions.ON, shots=2, regions_per_normal=20)
    product = load_product(write_product(tmp_path / "part", (400, 300), masks), config, size=64)
    at, anywhere = [], []
    for path in product.normals:
        for index, view in enumerate(product.normal_views(path)):
            region = view.region
            assert region is not None
            assert 48 <= region.side <= 6 * 16 + 1
            assert 0 <= region.left <= region.left + region.side <= 400
            assert 0 <= region.top <= region.top + region.side <= 300
            (anywhere if index % 2 else at).append(region)
    assert all(r.left <= 318 <= r.left + r.side and r.top <= 58 <= r.top + r.side for r in at)
    assert np.std([r.left + r.side / 2 for r in anywhere]) > 60


def test_the_same_files_give_the_same_regions_wherever_they_lie(tmp_path: Path) -> None:
    masks: list[Boxes] = [[(100, 40, 16, 16)], [(310, 50, 16, 16)]]
    here, there = (
        load_product(write_product(tmp_path / name, (400, 300), masks), ON, size=64)
        for name in ("a", "b/part")
    )
    for one, other in zip(every_pair(here), every_pair(there), strict=True):
        assert [v.region for v in here.pair_views(one)] == [v.region for v in there.pair_views(other)]
    for path, other_path in zip(here.normals, there.normals, strict=True):
        assert [v.region for v in here.normal_views(path)] == [
            v.region for v in there.normal_views(other_path)
        ]
    assert here.fingerprint == there.fingerprint


def test_held_out_regions_follow_the_seed(tmp_path: Path) -> None:
    masks: list[Boxes] = [[(100, 40, 30, 10)], [(310, 50, 30, 10)]]
    product = load_product(write_product(tmp_path / "part", (400, 300), masks), ON, size=64)
    [pair] = product.defects[0].test
    regions = [product.judged_pair(pair, seed).region for seed in (0, 0, 1)]
    assert regions[0] == regions[1] != regions[2]
    assert all(region is not None and region.side == 90 for region in regions)  # three times the box
    normal = product.judged_normal(product.test_normals[0], 0).region
    assert normal is not None
    assert normal.side == 90


def test_the_fingerprint_changes_with_regions_alone(tmp_path: Path) -> None:
    """And is that of earlier versions where there are none and the crop loses nothing."""
    folder = write_product(tmp_path / "part", (64, 64), [[(20, 20, 24, 24)]])
    whole = load_product(folder, PhotographsConfig(fit=Fit.CROP, regions=Regions.OFF), size=64)
    assert load_product(folder, size=64).fingerprint == whole.fingerprint
    on = load_product(folder, ON, size=64)
    more = load_product(folder, PhotographsConfig(regions=Regions.ON, regions_per_pair=7), size=64)
    assert len({whole.fingerprint, on.fingerprint, more.fingerprint}) == 3
    described = on.seen_as["regions"]
    again = load_product(folder, PhotographsConfig(**regions_of(described)), size=64)
    assert again.fingerprint == on.fingerprint
    assert whole.seen_as == {}
    assert regions_of(None) == {"regions": Regions.OFF}


@pytest.mark.parametrize(
    ("size", "box", "on", "why"),
    [
        ((128, 128), (40, 40, 48, 48), False, "no defect is under 16 latent cells"),
        ((64, 64), (20, 20, 12, 12), False, "no defect is under 16 latent cells"),  # 48 of 64 px: no gain
        ((128, 128), (40, 40, 12, 12), True, "dent's median is 0.6 latent cells on whole pictures, under 16"),
        ((300, 300), (20, 20, 200, 200), True, "the photographs are 4.7 times as large"),
        ((128, 300), (20, 100, 80, 80), False, "the photographs are not over 2 times"),  # the crop is 128
    ],
)
def test_when_regions_are_trained_on(
    tmp_path: Path, size: tuple[int, int], box: tuple[int, int, int, int], on: bool, why: str
) -> None:
    folder = write_product(tmp_path / "part", size, [[box]])
    report = inspect_product(folder, size=64)
    assert report.usable
    assert (report.regions.on, why in report.to_text()) == (on, True), report.to_text()
    assert report.to_dict()["regions"]["on"] is on
    assert (load_product(folder, size=64).regions is not None) is on
    for wanted in (Regions.ON, Regions.OFF):
        asked = inspect_product(folder, PhotographsConfig(regions=wanted), size=64)
        assert asked.regions.on is (wanted is Regions.ON)


def test_twelve_pixels_on_twenty_megapixels(tmp_path: Path) -> None:
    """The fit would leave nothing of it; a region shows it well."""
    folder = write_product(tmp_path / "part", (5472, 3648), [[(5400, 1800, 12, 12)]], normals=1)
    report = inspect_product(folder, PhotographsConfig(fit=Fit.CROP), size=256)
    assert report.usable
    assert report.regions.on
    assert report.defects[0].left_out == 0
    [size] = report.regions.sizes
    assert size.smallest == pytest.approx((12 * 256 / 48) ** 2)
    product = load_product(folder, size=256)
    [pair] = every_pair(product)
    for view in product.pair_views(pair):
        assert view.region is not None
        assert 0.02 < product.mask(pair, view.region).mean() < 0.07  # 48 to 72 pixels a side
        assert product.image(pair.image, view.region)[product.mask(pair, view.region)].mean() > 240


def test_regions_lose_no_pair_to_the_fit(tmp_path: Path) -> None:
    masks: list[Boxes] = [[(0, 20, 12, 12)], [(380, 60, 12, 12)], [(200, 50, 12, 12)]]
    folder = write_product(tmp_path / "part", (400, 100), masks)
    cropped = inspect_product(folder, PhotographsConfig(fit=Fit.CROP, regions=Regions.OFF), size=64)
    assert cropped.defects[0].left_out == 2
    for fit in Fit:
        report = inspect_product(folder, PhotographsConfig(fit=fit, regions=Regions.ON), size=64)
        assert report.defects[0].left_out == 0
        assert {problem.kind for problem in report.warnings} == {Kind.FEW_NORMALS}


def test_pad_where_the_crop_would_lose_pairs(tmp_path: Path) -> None:
    lost = write_product(tmp_path / "lost", (200, 100), [[(0, 20, 40, 40)], [(80, 20, 40, 40)]])
    kept = write_product(tmp_path / "kept", (200, 100), [[(60, 20, 40, 40)], [(80, 20, 40, 40)]])
    off = PhotographsConfig(regions=Regions.OFF)
    report = inspect_product(lost, off, size=64)
    assert (report.fit, report.defects[0].left_out) == ("pad", 0)
    assert any("the centre crop would leave out 1 of 2 pairs" in note for note in report.notes)
    assert load_product(lost, off, size=64).preprocessing.fit is Fit.PAD
    report = inspect_product(kept, off, size=64)
    assert report.fit == "crop"
    assert not any(note.startswith("fit:") for note in report.notes)
    for fit in Fit:
        asked = inspect_product(lost, PhotographsConfig(fit=fit, regions=Regions.OFF), size=64)
        assert asked.fit == fit.value


def test_yaml_reads_on_and_off_as_true_and_false() -> None:
    for value, meant in (
        (True, Regions.ON),
        (False, Regions.OFF),
        ("auto", Regions.AUTO),
        ("on", Regions.ON),
    ):
        assert overlay(PhotographsConfig(), {"regions": value}, "a file").regions is meant
    with pytest.raises(UserError, match=r"regions: expected auto \| on \| off, found 'maybe'"):
        overlay(PhotographsConfig(), {"regions": "maybe"}, "a file")
    with pytest.raises(UserError, match="fit: expected crop"):
        overlay(PhotographsConfig(), {"fit": "squeeze"}, "a file")
    for ratio in ([0.5, 2], [3, 2], [1.5, 1000]):
        with pytest.raises(UserError, match="region_ratio: expected two numbers of 1 to 100"):
            overlay(PhotographsConfig(), {"region_ratio": ratio}, "a file")
