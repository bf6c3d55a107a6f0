"""Placed pairs of photographs of every kind: beyond the feather each pixel is the photograph's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import Placing, Sampling
from seas_runtime.photographs.reading import read_photograph
from tests.runtime.bundles import FACTOR, SIZE
from tests.runtime.datasets import read_records
from tests.runtime.placing.photographs import write_photographs, write_placing_bundle

SIDE = SIZE * FACTOR
COUNT = 16


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder, and the values of its photographs by name."""
    folder = tmp_path_factory.mktemp("line") / "today"
    return folder, write_photographs(folder)


@pytest.fixture(scope="module")
def written(
    photographs: tuple[Path, dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of pairs, of every defect and of normals; their masks are the placements."""
    folder = tmp_path_factory.mktemp("placed")
    generator = Generator.open(write_placing_bundle(folder / "bundle"), threads=1)
    generator.draw_onto(photographs[0])
    request = DatasetRequest(
        ("all",), COUNT, 4, 5, sampling=Sampling(gate=False), placing=Placing(mask="placed")
    )
    write_dataset(generator, request, folder / "out")
    return folder / "out"


def test_every_pixel_beyond_the_feather_is_the_photographs(
    written: Path, photographs: tuple[Path, dict[str, np.ndarray]]
) -> None:
    used = set()
    records = read_records(written)
    assert len(records) == 3 * COUNT
    for record in records:
        before = photographs[1][record["photograph"]]
        after = read_photograph(written / record["files"]["image"]).pixels
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        changed = after != before
        if before.ndim == 3 and before.shape[2] in (2, 4):
            assert not changed[..., -1].any()  # transparency stays
        changed = changed.any(axis=2) if changed.ndim == 3 else changed
        left, top, side = record["region"]
        box = record["placement"]
        if "mask" in record["files"]:
            placed = read_photograph(written / record["files"]["mask"]).pixels > 0
            rows, columns = (np.flatnonzero(placed.any(axis=axis)) for axis in (1, 0))
            assert (rows[0], columns[0]) == (box["top"], box["left"])
            assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (box["height"], box["width"])
            assert np.count_nonzero(placed) == box["area"]
            assert changed[placed].mean() > 0.5  # something is drawn there
        else:
            placed = np.zeros(before.shape[:2], bool)
            placed[box["top"] : box["top"] + box["height"], box["left"] : box["left"] + box["width"]] = True
        # The feather is two latent cells wide; a pixel of the window on either side for its resampling.
        reach = 2 * FACTOR * side / SIDE + 2 * max(1, side / SIDE)
        far = ndimage.distance_transform_cdt(~placed, "chessboard") > reach
        outside = np.ones_like(far)
        outside[max(0, top) : top + side, max(0, left) : left + side] = False
        assert not changed[far | outside].any()
        used.add(record["photograph"])
    assert used == set(photographs[1])


def test_normals_have_no_mask(written: Path) -> None:
    generator = Generator.open(written.parent / "bundle", threads=1)
    placed = generator.generate("good", 4, 1, batch=2, placing=Placing(mask="placed"), gate=False)
    assert not any(pair.mask.any() for pair in placed)
    accepted = [pair for pair in generator.generate("good", 8, 1, placing=Placing()) if pair.record.accepted]
    assert accepted
    assert not any(pair.mask.any() for pair in accepted)
