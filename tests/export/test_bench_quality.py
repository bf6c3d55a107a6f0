"""`bench --quality`: what pairs are like in every way that a bundle knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seas_export.quality.bench import measure_quality, ways_of
from seas_export.quality.pairs import Made, Quality, Seen, Way, make_pairs, spread
from seas_runtime import Generator
from tests.export.commands import Run
from tests.runtime.bundles import Toy, write_tiny_bundle

QUALITY = Quality(2, 1.0, 1.0, None, 0.0, 0.1)


def test_every_schedule_and_fewer_masks_are_compared_with_the_most_steps(
    run: Run, toy_bundle: Path, tmp_path: Path
) -> None:
    ended = run("bench", toy_bundle, "--quality", "--pairs", 2, "--out", tmp_path, "--json")
    assert ended.code == 0, ended.err
    result = ended.json
    ways = [(row["way"]["sampler"], row["way"]["steps"], row["way"]["mask_steps"]) for row in result["rows"]]
    generator = Generator.open(toy_bundle)
    own = generator.bundle.schedule()
    most = max(one.steps for one in generator.bundle.schedules.values() if one.sampler == own.sampler)
    assert ways[0] == (own.sampler, most, None)
    assert len({way for way in ways if way[2] is None}) == len(generator.bundle.schedules)
    masks = generator.manifest.generation["mask_steps"]
    assert [way for way in ways if way[2]] == [(own.sampler, own.steps, n) for n in range(masks - 1, 0, -1)]
    assert result["rows"][0]["compared"] is None
    for row in result["rows"]:
        assert row["quality"]["pairs"] == 2 * len(generator.manifest.defects)
        assert row["quality"]["first_try"] <= row["quality"]["accepted"] <= 1
        assert row["quality"]["seconds"] > 0
    assert json.loads((tmp_path / "quality.json").read_text())["rows"] == result["rows"]
    assert run("bench", toy_bundle, "--quality", "--pairs", 2, "--out", tmp_path).code == 0  # over its own


def test_fewer_masks_leave_the_pictures_and_fewer_steps_do_not(toy_bundle: Path) -> None:
    generator = Generator.open(toy_bundle, threads=1)
    own, fewer, masks = (next(iter(kind)) for kind in _ways(generator))
    made = {
        way: make_pairs(generator, way, generator.manifest.defects, pairs=4) for way in (own, fewer, masks)
    }
    same, other = made[masks].against(made[own]), made[fewer].against(made[own])
    assert same.pairs > 0
    assert same.psnr == 999
    assert other.psnr is not None
    assert other.psnr < 60


def _ways(generator: Generator) -> tuple[list[Way], list[Way], list[Way]]:
    """The bundle's own way, with fewer steps, and with fewer masks."""
    own = generator.bundle.schedule()
    every = ways_of(generator)
    return (
        [way for way in every if way == Way(own.sampler, own.steps)],
        [way for way in every if way.sampler == own.sampler and way.steps < own.steps],
        [way for way in every if way.mask_steps == 1],
    )


def test_pairs_in_photographs_are_measured_where_they_are_drawn(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle", Toy(blend="fixed", placement=True))
    generator = Generator.open(bundle, threads=1)
    said: list[str] = []
    result = measure_quality(generator, pairs=2, say=said.append)
    assert result.placed
    assert "drawn into photographs" in said[0]
    assert result.rows[0].quality.pairs == 4


def test_pairs_count_where_both_passed_at_once() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    picture = np.zeros((8, 8, 3), np.uint8)
    reference = Made(QUALITY, {("a", 0): Seen(True, picture, mask), ("a", 1): Seen(True, picture, mask)})
    ours = {("a", 0): Seen(True, picture + 255, ~mask), ("a", 1): Seen(False, picture, mask)}
    found = Made(QUALITY, {**ours, ("a", 2): Seen(True, picture, mask)}).against(reference)
    assert (found.pairs, found.psnr, found.mask_iou) == (1, 0.0, 0.0)
    nothing = Made(QUALITY, {}).against(reference)
    assert (nothing.pairs, nothing.psnr, nothing.mask_iou) == (0, None, None)


def test_the_spread_is_that_of_one_defects_boxes() -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    low, high = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 200, np.uint8)
    outside = low.copy()
    outside[0] = 255
    alike = {("a", 0): Seen(True, low, mask), ("a", 1): Seen(True, outside, mask)}
    assert spread(alike) == 0
    assert spread({**alike, ("b", 0): Seen(True, high, mask)}) == 0
    assert spread({("a", 0): Seen(True, low, mask), ("a", 1): Seen(True, high, mask)}) == 200
    assert spread({}) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--quality", "--steps", 3), "--steps: not with --quality"),
        (("--quality", "--sampler", "ddim"), "--sampler: not with --quality"),
        (("--quality", "--batches", "1"), "--batches: not with --quality"),
        (("--onto", "x"), "--onto: is only used with --quality"),
        (("--quality", "--onto", "nowhere"), "nowhere"),
        (("--quality", "--pairs", 0), "pairs"),
        (("--quality", "--defect", "nothing"), "nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    run: Run, toy_bundle: Path, words: tuple[object, ...], said: str
) -> None:
    ended = run("bench", toy_bundle, *words)
    assert ended.code == 2, ended.err
    assert said in ended.err


def test_a_file_of_somebody_elses_stays(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    file.write_text('{"rows": "mine"}')
    ended = run("bench", toy_bundle, "--quality", "--out", tmp_path)
    assert ended.code == 2
    assert file.read_text() == '{"rows": "mine"}'
