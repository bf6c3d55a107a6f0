"""Regions, outlines and runs against scipy, Pillow and pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from seas_runtime.dataset.formats.shapes.outlines import Ring, join_rings, trace_rings
from seas_runtime.dataset.formats.shapes.regions import find_regions
from seas_runtime.dataset.formats.shapes.runs import compress_runs, decode_runs, draw_runs, encode_runs


@pytest.fixture(scope="module")
def coco() -> Any:
    return pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")


def masks() -> list[np.ndarray]:
    """Noise of every density, smooth blobs with holes, and the smallest ones there are."""
    random = np.random.default_rng(2)
    found = [np.ones((1, 1), bool), np.ones((3, 5), bool), np.eye(9, dtype=bool), np.eye(9, dtype=bool)[::-1]]
    found.append(np.indices((8, 9)).sum(axis=0) % 2 == 0)  # pixels that touch by their corners alone
    found.append(np.pad(np.zeros((3, 2), bool), 2, constant_values=True))
    for number in range(60):
        height, width = random.integers(2, 60, 2)
        noise = random.random((height, width))
        found.append(noise < random.random() if number % 3 == 0 else ndimage.gaussian_filter(noise, 2) > 0.5)
    return [mask for mask in found if mask.any()]


def filled(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What a polygon marks as LabelMe draws it."""
    image = Image.new("L", shape[::-1])
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=255, outline=255)
    return np.asarray(image) > 0


def test_regions_are_scipys_of_eight_neighbours() -> None:
    for mask in masks():
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions = find_regions(mask)
        assert len(regions) == count
        assert [region.top for region in regions] == sorted(region.top for region in regions)
        for region in regions:
            whole = region.on_picture(*mask.shape)
            (label,) = np.unique(labels[whole])
            assert (whole == (labels == label)).all()
            (down, across) = ndimage.find_objects(whole.astype(int))[0]
            assert (region.top, region.left) == (down.start, across.start)
            assert (region.height, region.width) == region.mask.shape
            assert region.area == whole.sum()


def test_an_empty_mask_has_no_regions() -> None:
    assert find_regions(np.zeros((4, 5), bool)) == []


def test_outlines_drawn_by_pillow_are_the_region() -> None:
    seen = 0
    for mask in masks():
        for region in find_regions(mask):
            rings = trace_rings(region)
            if any(ring.hole for ring in rings):
                continue
            assert (filled(join_rings(rings), mask.shape) == region.on_picture(*mask.shape)).all()
            seen += 1
    assert seen > 500


def test_outlines_drawn_by_pycocotools_are_the_region_with_its_holes(coco: Any) -> None:
    holes = 0
    for mask in masks():
        height, width = mask.shape
        for region in find_regions(mask):
            rings = trace_rings(region)
            polygon = [join_rings(rings).ravel().tolist()]
            drawn = coco.decode(coco.merge(coco.frPyObjects(polygon, height, width))) > 0
            assert (drawn == region.on_picture(height, width)).all()
            holes += sum(ring.hole for ring in rings)
    assert holes > 100


def test_rings_are_as_many_as_parts_and_holes() -> None:
    for mask in masks():
        for region in find_regions(mask):
            rings = trace_rings(region)
            parts = ndimage.label(region.mask)[1]
            holes = ndimage.label(np.pad(~region.mask, 1, constant_values=True), np.ones((3, 3)))[1] - 1
            assert sum(not ring.hole for ring in rings) == parts
            assert sum(ring.hole for ring in rings) == holes


def test_rings_are_joined_where_they_are_nearest() -> None:
    square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    rings = [Ring(square + np.array(move), False) for move in ([0, 0], [6, 6], [20, 6])]
    joined = join_rings(rings).tolist()
    assert [[4, 4], [6, 6]] in [joined[i : i + 2] for i in range(len(joined))]
    assert [[10, 6], [20, 6]] in [joined[i : i + 2] for i in range(len(joined))]


def test_runs_are_pycocotools_own(coco: Any) -> None:
    for mask in [*masks(), np.zeros((5, 4), bool)]:
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        counts = encode_runs(mask)
        assert compress_runs(counts) == theirs["counts"].decode()
        assert decode_runs(theirs["counts"].decode()) == counts
        assert (coco.decode({"size": list(mask.shape), "counts": compress_runs(counts)}) == mask).all()


@pytest.mark.parametrize("by_column", [True, False])
def test_runs_there_and_back(by_column: bool) -> None:
    for mask in masks():
        counts = encode_runs(mask, by_column=by_column)
        assert sum(counts) == mask.size
        assert (draw_runs(counts, *mask.shape, by_column=by_column) == mask).all()
        assert decode_runs(compress_runs(counts)) == counts


@pytest.mark.parametrize("counts", [[3, 3], [21, -1], []])
def test_runs_that_do_not_fill_the_picture_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="expected runs over 4 x 5 pixels"):
        draw_runs(counts, 5, 4)


def test_compressed_runs_that_are_cut_short_are_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        decode_runs(compress_runs([1000, 1000])[:-1])
