"""Masks of a method that measures none, by another bundle's head."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime import DatasetRequest, Placing, Sampling, write_dataset
from seas_runtime.bundle.reading import Bundle, read_manifest_file, write_manifest
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.placing import judging
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.placed.bounds import PlacedBounds
from seas_runtime.methods.placed.gates import GROWTH
from seas_runtime.methods.request import PLACED, REFINED
from seas_runtime.placement.morphology import grow
from seas_runtime.placement.options import BOXES, PlacementOptions
from seas_runtime.placement.regions import resize_pixels
from seas_runtime.spreading.opening import open_source
from tests.runtime.bundles import (
    CHANNELS,
    FACTOR,
    SIZE,
    Toy,
    channel_mix,
    encoding,
    write_tiny_bundle,
)

BOXED = Placing(PlacementOptions(source=BOXES))
HEAD = Toy(blend="fixed", gain=3.0, bias=0.0)
GIVEN = {"method": "anogen", "generation": {"embedding": "output", "blend": "fresh"}}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("head") / "bundle", HEAD)


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a method whose masks are the boxes that it draws into."""
    folder = tmp_path_factory.mktemp("boxes") / "bundle"
    return write_tiny_bundle(folder, Toy(blend="fresh", placement=True), **GIVEN)


def opened(boxes: Path, head: Path | None) -> Generator:
    generator = Generator.open(boxes, threads=1)
    if head is not None:
        generator.measure_with(head)
    return generator


def placed_on(generator: Generator, seed: int, **options: Any) -> GeneratedPair:
    """A pair on cells of random colours, as large as the bundle's pictures."""
    random = np.random.default_rng(seed)
    photograph = random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    photograph = photograph.repeat(FACTOR, axis=0).repeat(FACTOR, axis=1)
    mask = np.zeros(photograph.shape[:2], bool)
    mask[8:40, 8:32] = True
    options = {"gate": False, "placing": BOXED, **options}
    return generator.place(photograph, "stain", mask, seed=seed, **options)


def expected_map(pair: GeneratedPair, head: Path) -> np.ndarray:
    """The toy head's mean probability of the pair's finished region, written from the toy's formulas."""
    bundle = Bundle.read(head)
    assert pair.region is not None
    window = resize_pixels(pair.region.cut(pair.image), SIZE * FACTOR)
    scaled = window.astype(np.float64) / 127.5 - 1
    cells = scaled.reshape(SIZE, FACTOR, SIZE, FACTOR, 3).mean(axis=(1, 3))
    latents = np.einsum("cd,yxd->cyx", encoding().astype(np.float64), cells)
    last = pair.record.attempts[-1].attempt
    seed, index, schema = pair.record.request.seed, pair.record.index, bundle.manifest.schema
    noise = PairNoise(seed, index, last, "stain", schema).normal(Stream.BLEND, (CHANNELS, SIZE, SIZE))
    context = bundle.tables["embeddings"]["stain"].mean()
    maps = []
    for row in bundle.schedule().table[-3:]:
        blended = row[8] * latents + row[9] * noise
        tap = np.einsum("cd,dyx->cyx", channel_mix().astype(np.float64), row[1] * blended) + context
        logit = HEAD.gain * tap.mean(axis=0) + HEAD.bias
        maps.append(1 / (1 + np.exp(-logit)))
    return np.mean(maps, axis=0).repeat(FACTOR, axis=0).repeat(FACTOR, axis=1)


def test_the_mask_is_what_the_head_finds_of_the_finished_region(boxes: Path, head: Path) -> None:
    generator = opened(boxes, head)
    unlike_box = 0
    for seed in range(4):
        for tau in (None, 0.5):
            pair = placed_on(generator, seed, tau=tau)
            probability = expected_map(pair, head)
            assert pair.probability is not None
            assert np.abs(pair.probability - probability).max() < 1e-5
            box = np.zeros(pair.mask.shape, bool)
            box[8:40, 8:32] = True
            found = (probability >= (0.2 if tau is None else tau)) & grow(box, GROWTH * FACTOR)
            assert np.array_equal(pair.mask > 0, found)
            unlike_box += not np.array_equal(pair.mask > 0, box)
            assert pair.record.origin["mask"] == REFINED
            assert pair.record.origin["mask_from"] == Bundle.read(head).fingerprint
            assert not pair.record.weak
    assert unlike_box >= 6


def test_the_picture_stays_what_it_is_without(boxes: Path, head: Path) -> None:
    plain, measured = placed_on(opened(boxes, None), 1), placed_on(opened(boxes, head), 1)
    assert np.array_equal(plain.image, measured.image)
    assert plain.record.weak
    assert plain.record.origin["mask"] == PLACED
    assert "mask_from" not in plain.record.origin
    assert set(measured.record.times.graphs) - set(plain.record.times.graphs) == {"measure_mask"}


@dataclass(frozen=True)
class Strict(PlacedBounds):
    """Bounds that ask of a mask to be the placement, and of a picture nothing."""

    @classmethod
    def of(cls, generation: Mapping[str, Any], defect: str) -> PlacedBounds:
        return PlacedBounds(change=0.0, iou=1.0, seam=255.0)


def test_a_thin_mask_in_a_large_box_passes_an_empty_one_does_not(
    boxes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much of a box its defect fills is no reason to reject it."""
    monkeypatch.setattr(judging, "PlacedBounds", Strict)
    reasons = {}
    for name, bias in (("some", 0.0), ("nothing", -40.0)):
        head = write_tiny_bundle(tmp_path / name, replace(HEAD, gain=30.0, bias=bias))
        pair = placed_on(opened(boxes, head), 3, gate=True, tau=0.99)
        reasons[name] = [attempt.rejected for attempt in pair.record.attempts]
    assert set(reasons["nothing"]) == {"mask of a defect is empty"}
    assert reasons["some"] == [None]


def test_normals_are_photographs_as_they_are(boxes: Path, head: Path) -> None:
    photograph = np.full((60, 80, 3), 128, np.uint8)
    pair = opened(boxes, head).place(photograph, "good", placing=BOXED)
    assert np.array_equal(pair.image, photograph)
    assert not pair.mask.any()
    assert pair.record.accepted
    assert "mask_from" not in pair.record.origin


def test_a_data_set_says_whose_masks_it_has_and_is_not_mixed(boxes: Path, head: Path, tmp_path: Path) -> None:
    request = DatasetRequest(("stain", "good"), 3, batch=2, sampling=Sampling(gate=False), placing=BOXED)
    generator, out = opened(boxes, head), tmp_path / "set"
    write_dataset(generator, request, out)
    fingerprint = Bundle.read(head).fingerprint
    assert json.loads((out / "dataset.json").read_text())["mask_from"] == fingerprint
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert [record.get("mask_from") for record in records] == [fingerprint] * 3 + [None] * 3
    assert not any(record.get("weak") for record in records)
    with pytest.raises(UserError, match="holds a dataset of another mask_from"):
        write_dataset(opened(boxes, None), request, out)
    plain = tmp_path / "plain"
    write_dataset(opened(boxes, None), request, plain)
    assert "mask_from" not in json.loads((plain / "dataset.json").read_text())
    with pytest.raises(UserError, match="holds a dataset of another mask_from"):
        write_dataset(generator, request, plain)


def test_workers_measure_the_same_masks(boxes: Path, head: Path, tmp_path: Path) -> None:
    request = DatasetRequest(("stain",), 2, batch=1, sampling=Sampling(gate=False), placing=BOXED)
    write_dataset(opened(boxes, head), request, tmp_path / "one")
    with open_source(boxes, threads=1, devices="all") as (pool, _):
        pool.measure_with(head)
        write_dataset(pool, request, tmp_path / "many")
    for file in sorted((tmp_path / "one").glob("**/*.png")):
        assert file.read_bytes() == (tmp_path / "many" / file.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"product": "cup"},
            "expected a bundle of the same product as that of the pairs, 'bottle', found 'cup'",
        ),
        ({"provenance": {"base": "other"}}, "of the same base as that of the pairs, 'toy', found 'other'"),
        (
            {"preprocessing": {"size": 48, "fit": "pad"}},
            "same fit as that of the pairs, 'crop', found 'pad'",
        ),
        (GIVEN, "expected a bundle with a mask head, such as one of method seas, found one of method anogen"),
    ],
)
def test_bundles_that_cannot_measure_its_masks(
    boxes: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    toy = replace(HEAD, blend="fresh") if changes is GIVEN else HEAD
    other = write_tiny_bundle(tmp_path / "other", toy, **changes)
    with pytest.raises(UserError, match=f"--mask-from .*{message}"):
        opened(boxes, other)


def test_bundles_of_earlier_versions_and_methods_with_a_head(boxes: Path, head: Path, tmp_path: Path) -> None:
    early = write_tiny_bundle(tmp_path / "early", replace(HEAD, blend=""))
    with pytest.raises(UserError, match="read no photographs; export the checkpoint again"):
        opened(boxes, early)
    with pytest.raises(UserError, match="--mask-from: method seas measures its own masks; leave it out"):
        opened(head, head)


def test_a_defect_that_the_head_does_not_know(boxes: Path, tmp_path: Path) -> None:
    other = write_tiny_bundle(tmp_path / "other", HEAD)
    manifest, _ = read_manifest_file(other)
    names = {"good": "a <ob>", "broken_large": "a <ob> with <a>"}
    write_manifest(other, replace(manifest, defects=("broken_large",), prompts=names))
    generator = opened(boxes, other)
    with pytest.raises(UserError, match="expected a bundle that knows 'stain', found one of broken_large"):
        placed_on(generator, 0)
    request = DatasetRequest(("all",), 1, placing=BOXED)
    with pytest.raises(UserError, match="expected a bundle that knows 'stain'"):
        write_dataset(generator, request, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    assert list(generator.generate("broken_large", 1, placing=BOXED, gate=False))


def test_requests_that_take_no_measured_masks(boxes: Path, head: Path) -> None:
    generator = opened(boxes, head)
    with pytest.raises(UserError, match="--mask placed takes none; leave one out"):
        placed_on(generator, 0, placing=replace(BOXED, mask=PLACED))
    with pytest.raises(UserError, match="masks of pairs that are drawn into photographs"):
        generator.generate("stain", 1)
    assert placed_on(generator, 0, placing=replace(BOXED, mask=REFINED)).record.origin["mask"] == REFINED
    with pytest.raises(UserError, match=r"--mask refined: method anogen measures no masks.*--mask-from"):
        placed_on(opened(boxes, None), 0, placing=replace(BOXED, mask=REFINED))
