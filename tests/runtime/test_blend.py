"""Pairs drawn into a background: the loop against the formula in numpy, on every way to run it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.bundle.reading import Bundle, read_manifest_file, write_manifest
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.blending.inputs import covered_mask, latent_mask, steps_left
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PairRequest, PlacedInputs, Placing, Request
from seas_runtime.methods.seas_options import SeasOptions
from tests.runtime.bundles import CHANNELS, FACTOR, SIZE, Toy, channel_mix, encoding, write_tiny_bundle
from tests.runtime.fake_gpu import FakeDriver, build_engines, fake_backend

SHAPE = (CHANNELS, SIZE, SIZE)
SIDE = SIZE * FACTOR
SAMPLERS = [("dpmpp_2m", 5), ("dpmpp_2m", 3), ("ddim_eta", 4)]


@pytest.fixture(scope="module", params=["fixed", "fresh"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("blend") / "bundle", Toy(blend=request.param))


@pytest.fixture(scope="module")
def blending(bundle: Path) -> Generator:
    return Generator.open(bundle, threads=1)


def placed(seed: int, started: bool = False) -> PlacedInputs:
    """Return a window of noise, a rectangle in it, and, if `started`, another window to start from."""
    random = np.random.default_rng(seed)
    mask = np.zeros((SIDE, SIDE), np.bool_)
    top, left = random.integers(0, SIDE - 14, 2)
    mask[top : top + random.integers(1, 14), left : left + random.integers(1, 14)] = True
    window, start = random.integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    return PlacedInputs(window, mask, start if started else None)


def make(
    generator: Generator, request: Request, indices: Sequence[int], started: Sequence[int] = ()
) -> list[GeneratedPair]:
    batch = [PairRequest(request, index, placed(index, index in started)) for index in indices]
    (pairs,) = generator.generate_batches([batch])
    return pairs


def numpy_pair(
    generator: Generator, request: Request, index: int, started: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (image, mean probability, last coarse tap) of attempt 0 by the formulas alone."""
    content, toy, given, sampling = generator.bundle, Toy(), placed(index, started), request.sampling
    schedule = content.schedule(sampling.sampler, sampling.steps)
    noise = PairNoise(request.seed, index, 0, request.defect, content.manifest.schema)
    pool = content.tables["references"]["latents"]
    background = encoded(given.window)
    drawn = np.zeros((SIZE, SIZE))
    for y, x in zip(*np.nonzero(given.mask), strict=True):
        drawn[y // FACTOR, x // FACTOR] = 1  # its cell
    reference = pool[noise.choice(Stream.REFERENCE, len(pool))]
    latents = schedule.start_latents(reference, noise.normal(Stream.START, SHAPE))
    context = content.tables["embeddings"][request.defect].mean()
    negative = content.tables["embeddings"]["unconditional"].mean()
    strength = 1.0 if request.options.strength is None else request.options.strength
    first = schedule.steps - int(np.ceil(round(strength * schedule.steps, 6)))
    x0, maps, tap = np.zeros_like(latents), [], np.zeros(SHAPE)
    for step in range(first, schedule.steps):
        _, s, p, q, a, b, c, d, r, n = schedule.table[step]
        fresh = content.manifest.generation["blend"] == "fresh"
        clean = encoded(given.start) if given.start is not None and step == first > 0 else background
        noised = r * clean + n * noise.normal(Stream.BLEND, SHAPE, step if fresh else 0)
        here = np.zeros_like(drawn) if strength < 1 and step == first else drawn
        if strength < 1 and step == first:
            b, c = b + c, 0  # x0 stands for the one before
        x = np.where(here == 1, latents, noised)
        mixed = np.einsum("oi,ihw->ohw", channel_mix(), s * x)
        tap = mixed + context
        if step >= schedule.steps - 3:
            maps.append(1 / (1 + np.exp(-toy.gain * tap.mean(axis=0) - toy.bias)))
        previous, x0 = x0, p * x + q * (mixed + 0.03 * (negative + sampling.guidance * (context - negative)))
        latents = a * x + b * x0 + c * previous + d * noise.normal(Stream.STEP, SHAPE, step)
    image = np.rint(np.clip(127.5 + 60 * latents[:3], 0, 255)).transpose(1, 2, 0)
    coarse = tap.reshape(CHANNELS, SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
    return enlarge(image), enlarge(np.mean(maps, axis=0)), coarse


def encoded(window: np.ndarray) -> np.ndarray:
    cells = (window / 127.5 - 1).reshape(SIZE, FACTOR, SIZE, FACTOR, 3).mean(axis=(1, 3))
    return np.einsum("oi,hwi->ohw", encoding(), cells)


def enlarge(array: np.ndarray) -> np.ndarray:
    return array.repeat(FACTOR, axis=0).repeat(FACTOR, axis=1)


def check(
    generator: Generator, request: Request, pairs: Sequence[GeneratedPair], started: Sequence[int] = ()
) -> None:
    for pair in pairs:
        index = pair.record.index
        image, probability, _ = numpy_pair(generator, request, index, index in started)
        assert np.abs(pair.image.astype(int) - image).max() <= 1
        assert np.abs(pair.probability - probability).max() < 1e-5
    assert np.std([pair.image for pair in pairs]) > 10
    assert np.std([pair.probability for pair in pairs]) > 1e-3


@pytest.mark.parametrize("strength", [None, 1.0, 0.99, 0.6, 0.1])
@pytest.mark.parametrize(("sampler", "steps"), SAMPLERS)
def test_the_loop_is_the_formula(
    blending: Generator, sampler: str, steps: int, strength: float | None
) -> None:
    options = SeasOptions(strength=strength)
    request = blending.request(
        "stain", 11, options=options, sampler=sampler, steps=steps, guidance=3.0, gate=False
    )
    pairs = make(blending, request, range(3))
    check(blending, request, pairs)
    assert set(pairs[0].record.times.graphs) == {"encode_image", "step", "decode_mask", "decode_image"}


@pytest.mark.parametrize("backend", ["cpu", "rtx"])
def test_a_strength_below_one_may_start_from_another_window(
    bundle: Path, tmp_path: Path, backend: str
) -> None:
    """Of the pairs that have one; at strength 1 nothing changes."""
    generator = opened(bundle, tmp_path, backend)
    for strength in (0.6, None):
        options = SeasOptions(strength=strength)
        request = generator.request("stain", 9, options=options, guidance=2.0, gate=False)
        made = make(generator, request, range(3), started=(0, 2))
        check(generator, request, made, started=(0, 2))
        for pair, other in zip(made, make(generator, request, range(3)), strict=True):
            same = np.array_equal(pair.image, other.image)
            assert same == (strength is None or pair.record.index == 1)


def test_guidance_one_leaves_the_other_half_out(blending: Generator) -> None:
    request = blending.request("stain", 4, options=SeasOptions(), guidance=1.0, gate=False)
    check(blending, request, make(blending, request, range(2)))


@pytest.mark.parametrize("strength", [None, 0.6])
def test_a_batch_is_cut_with_its_windows(
    blending: Generator, strength: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = blending.request("stain", 7, options=SeasOptions(strength=strength), guidance=2.0, gate=False)
    whole = make(blending, request, range(5))
    monkeypatch.setattr(blending.backend, "most_at_once", lambda pixels: 2)
    for one, other in zip(whole, make(blending, request, range(5)), strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.abs(one.probability - other.probability).max() < 1e-5


def test_plans_of_whole_pictures_and_of_strengths_stand_beside_those_of_placed_pairs(bundle: Path) -> None:
    """A generator asked for all of them in turn gives what one gives that is asked for each alone."""
    kinds: list[tuple[float | None, bool]] = [(None, True), (0.6, True), (None, False), (0.99, True)]
    used = Generator.open(bundle, threads=1)
    for strength, drawn_into in 2 * kinds:
        made = []
        for generator in (used, Generator.open(bundle, threads=1)):
            options = SeasOptions(strength=strength)
            request = generator.request("stain", 5, options=options, guidance=2.0, gate=False)
            batch = [PairRequest(request, index, placed(index) if drawn_into else None) for index in range(2)]
            made.append(next(generator.generate_batches([batch])))
        for one, other in zip(*made, strict=True):
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.probability, other.probability)


def test_whole_pictures_are_those_of_a_bundle_without_the_blend(
    blending: Generator, generator: Generator
) -> None:
    for sampler, steps in SAMPLERS:
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "batch": 3}
        made, expected = (list(item.generate("stain", 4, 2, **options)) for item in (blending, generator))
        for one, other in zip(made, expected, strict=True):
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.probability, other.probability)
            assert set(one.record.times.graphs) == set(other.record.times.graphs)


@pytest.mark.parametrize("backend", ["cpu", "rtx"])
def test_the_last_step_hands_back_what_is_asked_for(bundle: Path, tmp_path: Path, backend: str) -> None:
    """Also where its maps are read by one call, as on a GPU."""
    generator = opened(bundle, tmp_path, backend)
    request = generator.request("stain", 3, options=SeasOptions(), guidance=2.0, gate=False)
    batch = [PairRequest(request, index, placed(index), ("tap_coarse", "blended")) for index in range(3)]
    made = generator._loop.run(batch, 0)
    assert set(made.observed) == {"tap_coarse", "blended"}
    for index in range(3):
        coarse = numpy_pair(generator, request, index)[2]
        assert np.abs(made.observed["tap_coarse"][index] - coarse).max() < 1e-5
    (plain,) = generator._loop.run(batch[:1], 0).observed["blended"]
    assert np.abs(made.observed["blended"][0] - plain).max() < 1e-5


@pytest.mark.parametrize("strength", [None, 0.6])
def test_a_gpu_encodes_before_its_one_captured_loop(
    bundle: Path, tmp_path: Path, strength: float | None
) -> None:
    generator = opened(bundle, tmp_path, "rtx")
    request = generator.request("stain", 8, options=SeasOptions(strength=strength), guidance=2.0, gate=False)
    for first in (0, 3, 6):  # queued, captured, launched
        check(generator, request, make(generator, request, range(first, first + 3)))
    driver = generator.backend.driver
    assert driver.captures == 4  # encoding, the steps, the masks, the image
    assert driver.launches == 8


def test_openvino_draws_the_same(blending: Generator, bundle: Path) -> None:
    pytest.importorskip("openvino")
    generator = Generator.open(bundle, "openvino:fp32", threads=1)
    for strength in (None, 0.6):
        options = SeasOptions(strength=strength)
        request = generator.request("stain", 8, options=options, guidance=2.0, gate=False)
        check(generator, request, make(generator, request, range(3)))


def opened(bundle: Path, folder: Path, backend: str) -> Generator:
    if backend == "cpu":
        return Generator.open(bundle, threads=1)
    copy = Path(shutil.copytree(bundle, folder / "copy"))
    build_engines(copy, backend, graphs=Bundle.read(copy).manifest.graphs)
    return Generator(Bundle.read(copy), fake_backend(backend, FakeDriver()))


def test_retries_are_drawn_into_the_same_window(blending: Generator) -> None:
    request = blending.request("broken_large", 1, options=SeasOptions())
    pairs = make(blending, request, range(12))
    assert any(len(pair.record.attempts) > 1 for pair in pairs)
    for pair in pairs:
        assert pair.record.times.graphs["encode_image"] > 0


def test_cells_that_a_mask_touches() -> None:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[FACTOR * 2 - 1, FACTOR * 3] = True  # the last row of cell 1, the first column of cell 3
    expected = np.zeros((SIZE, SIZE), np.float32)
    expected[1, 3] = 1
    assert np.array_equal(latent_mask(mask, (SIZE, SIZE)), expected)
    assert not latent_mask(np.zeros_like(mask), (SIZE, SIZE)).any()


def test_cells_that_a_mask_covers() -> None:
    """As many as the mask is large; what is thinner than a cell stays."""
    disc = np.hypot(*(np.indices((256, 256)) - 120.3)) < 41
    cells = covered_mask(disc, (32, 32))
    assert abs(64 * cells.sum() / disc.sum() - 1) < 0.05
    assert 64 * latent_mask(disc, (32, 32)).sum() / disc.sum() > 1.15
    line = np.zeros_like(disc)
    line[99:101, 16:240] = True
    assert np.array_equal(covered_mask(line, (32, 32)), latent_mask(line, (32, 32)))
    assert not covered_mask(np.zeros_like(disc), (32, 32)).any()


@pytest.mark.parametrize(
    ("steps", "strength", "left"),
    [(25, 0.28, 7), (10, 0.7, 7), (25, 1.0, 25), (25, 0.01, 1), (25, 0.281, 8), (3, 0.5, 2), (50, 0.99, 50)],
)
def test_steps_that_a_strength_leaves(steps: int, strength: float, left: int) -> None:
    assert steps_left(steps, strength) == left


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.5, float("nan"), True])
def test_a_strength_out_of_range(strength: float) -> None:
    with pytest.raises(UserError, match=r"strength: expected a number from 0.01 to 1"):
        SeasOptions(strength=strength)


def test_a_strength_needs_a_background(blending: Generator) -> None:
    with pytest.raises(UserError, match=r"strength: whole pictures have no background to start from"):
        list(blending.generate("stain", 1, options=SeasOptions(strength=0.5)))


@pytest.mark.parametrize("count", [0, 4, 1.5, True])
def test_mask_steps_out_of_range(count: Any) -> None:
    with pytest.raises(UserError, match=r"mask_steps: expected a whole number from 1 to 3"):
        SeasOptions(mask_steps=count)


def test_no_more_masks_than_steps(blending: Generator) -> None:
    """Of whole pictures all steps count, of placed pairs those that their strength leaves."""
    sampler, steps = SAMPLERS[0]
    sampling = {"sampler": sampler, "steps": steps}
    blending.request("stain", options=SeasOptions(mask_steps=3), **sampling)
    options = SeasOptions(mask_steps=2, strength=0.01)
    with pytest.raises(UserError, match=r"mask_steps: expected at most 1, as many as a pair's steps here"):
        blending.request("stain", options=options, placing=Placing(), **sampling)


def test_plans_of_other_mask_steps_stand_beside_each_other(bundle: Path) -> None:
    used = Generator.open(bundle, threads=1)
    for count in (3, 1, 2, 1, None):
        options = SeasOptions(mask_steps=count)
        (made,), (alone,) = (
            generator.generate("stain", 1, 5, gate=False, options=options)
            for generator in (used, Generator.open(bundle, threads=1))
        )
        assert np.array_equal(made.probability, alone.probability)


@pytest.mark.parametrize("backend", ["cpu", "rtx"])
def test_masks_of_x0_leave_the_picture_as_it_was(tmp_path: Path, blending: Generator, backend: str) -> None:
    """x0 is also carried to the next step: what is read and what is carried share their places."""
    generation = {**blending.manifest.generation, "decoded": "x0"}
    rule = blending.manifest.generation["blend"]
    made = write_tiny_bundle(tmp_path / "own", Toy(blend=rule), generation=generation)
    generator = opened(made, tmp_path, backend)
    assert [item.sources for item in generator._loop._method.readouts(generator.manifest, None)] == [
        {"latents": "x0"}
    ]
    for sampler, steps in SAMPLERS:
        request = generator.request(
            "stain", 3, options=SeasOptions(), sampler=sampler, steps=steps, guidance=2.0, gate=False
        )
        check(generator, request, make(generator, request, range(3)))


def test_a_batch_is_placed_or_not(blending: Generator) -> None:
    request = blending.request("stain")
    batch = [PairRequest(request, 0, placed(0)), PairRequest(request, 1)]
    with pytest.raises(ValueError, match="placed all, or none"):
        next(blending.generate_batches([batch]))


def test_a_bundle_of_an_earlier_version_draws_into_nothing(generator: Generator) -> None:
    with pytest.raises(UserError, match="this bundle draws into no background"):
        make(generator, generator.request("stain"), [0])


def test_a_bundles_own_strength(bundle: Path, tmp_path: Path, blending: Generator) -> None:
    generation = {**blending.manifest.generation, "strength": 0.6}
    rule = blending.manifest.generation["blend"]
    own = write_tiny_bundle(tmp_path / "own", Toy(blend=rule), generation=generation)
    generator = Generator.open(own, threads=1)
    assert generator.bundle.manifest.generation["strength"] == 0.6
    request = generator.request("stain", 5, guidance=2.0, gate=False)
    given = blending.request("stain", 5, options=SeasOptions(strength=0.6), guidance=2.0, gate=False)
    for one, other in zip(make(generator, request, [3]), make(blending, given, [3]), strict=True):
        assert np.array_equal(one.image, other.image)
    list(generator.generate("stain", 1))  # whole pictures have none


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blend": "often"}, r"generation.blend: expected one of fixed, fresh, found 'often'"),
        ({"strength": 0}, r"generation.strength: expected a number from 0.01 to 1"),
        ({"blend": None}, r"graphs.step.inputs: 'schedule': expected float32 \[any, 8\], found float32"),
    ],
)
def test_a_manifest_that_blends_otherwise(
    bundle: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    manifest, _ = read_manifest_file(bundle)
    generation = {key: value for key, value in {**manifest.generation, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        write_manifest(tmp_path, dataclasses.replace(manifest, generation=generation))


def test_a_blend_without_its_inputs(tmp_path: Path) -> None:
    generation = {"mask_steps": 3, "tau": 0.2, "blend": "fixed"}
    with pytest.raises(UserError, match=r"graphs.step.inputs: 'schedule': expected float32 \[any, 10\]"):
        write_tiny_bundle(tmp_path / "bundle", generation=generation)
