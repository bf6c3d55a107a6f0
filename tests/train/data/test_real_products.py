"""Real photographs, read where they lie beside the repository: never copied, skipped where they are not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from seas_train.data import Fit, Kind, PhotographsConfig, inspect_product, load_product

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real photographs are expected in ../shared/data")


@needs_data
def test_bottle_of_mvtec_ad() -> None:
    product = load_product(DATA / "bottle", size=256)
    assert [(d.name, len(d.train), len(d.test)) for d in product.defects] == [
        ("broken_large", 1, 2),
        ("broken_small", 1, 2),
        ("contamination", 1, 2),
    ]
    assert [pair.image.name for pair in product.defects[0].train] == ["007.png"]
    assert {problem.kind for problem in product.report.problems} == {Kind.FEW_NORMALS}
    for defect in product.defects:
        pair = defect.train[0]
        assert product.image(pair.image).std() > 10
        assert 0.001 < product.mask(pair).mean() < 0.3


@needs_data
def test_magnetic_tile_is_as_messy_as_its_readme_says() -> None:
    start = time.perf_counter()
    report = inspect_product(DATA / "magnetic_tile", size=256)
    seconds = time.perf_counter() - start
    assert report.usable
    found = {counts.name: counts.found for counts in report.defects}
    assert found == {"blowhole": 74, "break": 48, "crack": 45, "fray": 17, "uneven": 72}
    assert (report.normals.found, report.normals.train, report.normals.test) == (577, 60, 179)
    empty = [p.path.name for p in report.problems if p.kind is Kind.EMPTY_MASK and p.path is not None]
    assert empty == ["037_mask.png", "040_mask.png", "048_mask.png", "049_mask.png"]
    assert not any(problem.kind is Kind.OUTSIDE_CROP for problem in report.problems)
    assert (report.fit, report.regions.on) == ("pad", True)
    assert any("would leave out 122 of 252 pairs" in note for note in report.notes)
    assert seconds < 20  # 1 s on an idle machine


@needs_data
def test_magnetic_tile_padded_loses_its_empty_masks_only() -> None:
    report = inspect_product(DATA / "magnetic_tile", PhotographsConfig(fit=Fit.PAD), size=256)
    assert {counts.name: counts.left_out for counts in report.defects if counts.left_out} == {"uneven": 4}
