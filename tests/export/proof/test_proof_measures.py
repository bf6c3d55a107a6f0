"""What is counted on a photograph, and the figures that it amounts to, against values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seas_export.proof.measures.bootstrap import average_precision, compare
from seas_export.proof.measures.counts import Counts, count, levels_of, pooled
from seas_export.proof.measures.figures import measure
from seas_export.proof.results.summary import POOLED, Spread, summarize
from seas_export.proof.results.table import cell, markdown

metrics: Any = pytest.importorskip("sklearn.metrics", reason="the extra `prove` is not installed")


def square(top: int, left: int, side: int, size: int = 40) -> np.ndarray:
    made = np.zeros((size, size), bool)
    made[top : top + side, left : left + side] = True
    return made


def logits(called: np.ndarray) -> np.ndarray:
    return np.where(called, 3.0, -3.0).astype(np.float32)


def test_a_photograph_is_counted() -> None:
    """Two real regions, of which one is found to a quarter and the other whole; two wrong ones, one tiny."""
    mask = square(2, 2, 10) | square(25, 25, 4)
    called = square(2, 2, 5) | square(25, 25, 4) | square(30, 5, 6) | square(20, 12, 3)
    found = count(logits(called), mask)
    assert found.overlap.tolist() == [25 + 16]
    assert found.either.tolist() == [100 + 16 + 36 + 9]
    assert (found.regions.tolist(), found.detected.tolist()) == ([2], [1])
    assert found.false_regions.tolist() == [1]
    assert found.peak[0] == pytest.approx(1 / (1 + np.exp(-3)))
    assert found.levels.sum() == 1600
    assert found.levels[0, 1].sum() == mask.sum()


def test_a_probability_of_a_half_is_the_cut() -> None:
    called = levels_of(np.array([[-9.0, -1e-6, 0.0, 9.0]], np.float32))
    assert called.tolist() == [[0, 511, 512, 1023]]


def test_means_over_squares_have_nothing_beyond_the_edges() -> None:
    values = np.arange(12.0).reshape(3, 4)
    around = np.pad(values, 1)
    expected = sum(around[row : row + 3, column : column + 4] for row in range(3) for column in range(3)) / 9
    assert np.allclose(pooled(values, 3), expected)


def random_counts(seed: int, gain: float, photographs: int = 6) -> Counts:
    random = np.random.default_rng(seed)
    mask = square(10, 10, 12)
    return Counts.joined(
        [
            count(
                (gain * mask * (index < 4) + random.normal(-1, 1, mask.shape)).astype(np.float32),
                mask & (index < 4),
            )
            for index in range(photographs)
        ]
    )


SHOWN = ["blot", "blot", "stripe", "stripe", "good", "good"]


def test_figures_are_those_of_the_maps() -> None:
    random = np.random.default_rng(3)
    mask = square(10, 10, 12)
    maps = [random.normal(-1, 1, mask.shape) + 2 * mask, random.normal(-1, 1, mask.shape)]
    masks = [mask, np.zeros_like(mask)]
    counts = Counts.joined([count(m.astype(np.float32), k) for m, k in zip(maps, masks, strict=True)])
    found = measure(counts, np.array([False, True]), np.array([True, True]))
    flat, truth = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks])
    called = flat >= 0
    assert found.iou == pytest.approx((called & truth).sum() / (called | truth).sum())
    assert found.ap == pytest.approx(metrics.average_precision_score(truth, flat), abs=5e-3)
    assert found.auroc == pytest.approx(metrics.roc_auc_score(truth, flat), abs=1e-3)
    precision, recall, _ = metrics.precision_recall_curve(truth, flat)
    assert found.f1_max == pytest.approx((2 * precision * recall / (precision + recall)).max(), abs=5e-3)


def test_nothing_that_cannot_be_measured_gets_a_figure() -> None:
    counts = random_counts(0, 3).of(np.array([False] * 4 + [True] * 2))
    found = measure(counts, np.array([True, True]), np.array([True, True]))
    assert (found.ap, found.image_auroc, found.detected) == (None, None, None)


def test_resampled_average_precision_is_scikit_learns() -> None:
    histogram = random_counts(1, 1.5).levels.sum(0)
    expected = metrics.average_precision_score(
        np.repeat([0, 1], 1024), np.tile(np.arange(1024), 2), sample_weight=histogram.ravel()
    )
    assert average_precision(histogram[None].astype(float))[0] == pytest.approx(expected, abs=1e-9)


def test_a_clear_gain_is_better_its_opposite_worse_and_the_same_shows_no_difference() -> None:
    strong, weak = [random_counts(s, 4) for s in (1, 2)], [random_counts(s, 1) for s in (1, 2)]
    assert [one.verdict for one in compare(strong, weak, SHOWN)] == ["better", "better"]
    assert [one.verdict for one in compare(weak, strong, SHOWN)] == ["worse", "worse"]
    same = compare(weak, weak, SHOWN)
    assert [(one.mean, one.verdict) for one in same] == [(0.0, "no difference shown")] * 2
    assert "95 %" in same[0].words()


def test_seeds_that_disagree_show_no_difference() -> None:
    ours = [random_counts(1, 4), random_counts(2, 1)]
    theirs = [random_counts(1, 1), random_counts(2, 4)]
    assert {one.verdict for one in compare(ours, theirs, SHOWN)} == {"no difference shown"}


def test_a_summary_has_every_defect_and_a_page_says_what_was_not_measured() -> None:
    counts = {"real": [random_counts(1, 1)], "real + made": [random_counts(1, 4)]}
    summary = summarize(counts, {"real": (), "real + made": ("real",)}, SHOWN)
    assert list(summary.figures["real"]) == [POOLED, "blot", "stripe"]
    assert {one.scope for one in summary.comparisons} == {POOLED, "blot", "stripe"}
    page = markdown(summary, {"product": "plate"}, ["a note"])
    assert "## blot" in page
    assert "real + made against real, pooled, IoU" in page
    assert cell("iou", None) == "not measured"
    assert cell("iou", Spread.of([0.5, 0.7])) == "60.0 ± 14.1"
    assert Spread.of([0.5, None]) is None
