from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.backends.onnxruntime.cpu import OnnxRuntimeCpu
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PairRequest
from tests.runtime.bundles import CHANNELS, FACTOR, SIZE, Toy, channel_mix, write_tiny_bundle
from tests.schedules import apply_step, scaled_input

SHAPE = (CHANNELS, SIZE, SIZE)
STATES = {"U": "mask under 0.02% of the image"}


def pairs(generator: Generator, *arguments: Any, **options: Any) -> list[GeneratedPair]:
    return list(generator.generate(*arguments, **options))


def numpy_pair(
    generator: Generator, defect: str, index: int, seed: int, sampler: str, steps: int, guidance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (image, mean probability) of attempt 0 by the formulas alone, without graphs."""
    bundle, toy = generator.bundle, Toy()
    schedule = bundle.schedule(sampler, steps)
    noise, pool = (
        PairNoise(seed, index, 0, defect, bundle.manifest.schema),
        bundle.tables["references"]["latents"],
    )
    reference = pool[noise.choice(Stream.REFERENCE, len(pool))]
    latents = schedule.start_latents(reference, noise.normal(Stream.START, SHAPE))
    context = bundle.tables["embeddings"][defect].mean()
    negative = bundle.tables["embeddings"]["unconditional"].mean()
    x0, maps = np.zeros_like(latents), []
    for step in range(steps):
        mixed = np.einsum("oi,ihw->ohw", channel_mix(), scaled_input(schedule, step, latents))
        if step >= steps - 3:
            logit = toy.gain * (mixed + context).mean(axis=0) + toy.bias
            maps.append(1 / (1 + np.exp(-logit)))
        prediction = mixed + 0.03 * (negative + guidance * (context - negative))
        fresh = noise.normal(Stream.STEP, SHAPE, step)
        latents, x0 = apply_step(schedule, step, latents, x0, prediction, fresh)
    image = np.rint(np.clip(127.5 + 60 * latents[:3], 0, 255)).transpose(1, 2, 0)
    return enlarge(image), enlarge(np.mean(maps, axis=0))


def enlarge(array: np.ndarray) -> np.ndarray:
    return array.repeat(FACTOR, axis=0).repeat(FACTOR, axis=1)


@pytest.mark.parametrize(("sampler", "steps"), [("dpmpp_2m", 5), ("dpmpp_2m", 3), ("ddim_eta", 4)])
def test_the_loop_is_the_formula(generator: Generator, sampler: str, steps: int) -> None:
    options = {"sampler": sampler, "steps": steps, "guidance": 3.0}
    made = pairs(generator, "stain", 3, 11, gate=False, batch=2, **options)
    for pair in made:
        image, probability = numpy_pair(generator, "stain", pair.record.index, 11, sampler, steps, 3.0)
        assert np.abs(pair.image.astype(int) - image).max() <= 1
        assert np.abs(pair.probability - probability).max() < 1e-4
        assert np.array_equal(pair.mask, np.where(pair.probability >= 0.2, 255, 0))
    assert np.std([pair.image for pair in made]) > 10
    assert np.std([pair.probability for pair in made]) > 0.01


def test_shapes_and_record(generator: Generator) -> None:
    (pair,) = generator.generate("broken_large", 1, 5, start=9, gate=False)
    assert pair.image.dtype == pair.mask.dtype == np.uint8
    assert pair.image.shape == (48, 48, 3)
    assert pair.mask.shape == pair.probability.shape == (48, 48)
    record = pair.record.to_dict()
    times = record.pop("times")
    reference = PairNoise(5, 9, 0, "broken_large", 2).choice(Stream.REFERENCE, 7)
    assert record == {
        "seed": 5,
        "index": 9,
        "defect": "broken_large",
        "accepted": True,
        "attempts": [
            {"attempt": 0, "reference": reference, "mask_area": (pair.mask > 0).mean(), "rejected": None}
        ],
        "reference": reference,
        "sampler": "dpmpp_2m",
        "steps": 5,
        "guidance": 8.0,
        "tau": 0.2,
        "bundle": generator.bundle.fingerprint,
    }
    assert set(times) == {"step", "decode_mask", "decode_image", "total"}
    assert all(seconds > 0 for seconds in times.values())
    assert times["total"] >= times["step"] + times["decode_mask"] + times["decode_image"] - 2e-6


def test_pairs_do_not_depend_on_the_batch(generator: Generator) -> None:
    one, three, eight = (pairs(generator, "stain", 12, 3, batch=batch, gate=False) for batch in (1, 3, 8))
    for others in (three, eight):
        for pair, other in zip(one, others, strict=True):
            assert pair.record.index == other.record.index
            assert pair.record.origin == other.record.origin
            assert np.abs(pair.image.astype(int) - other.image).max() <= 1
            assert np.abs(pair.probability - other.probability).max() < 1e-5


def test_retries_do_not_depend_on_the_batch(generator: Generator) -> None:
    """Retries too are keyed by pair and attempt, whoever else is tried again."""
    one, five = (pairs(generator, "broken_large", 30, 3, batch=batch) for batch in (1, 5))
    for pair, other in zip(one, five, strict=True):
        assert [attempt.rejected for attempt in pair.record.attempts] == [
            attempt.rejected for attempt in other.record.attempts
        ]
        assert np.abs(pair.image.astype(int) - other.image).max() <= 1
    lengths = {len(pair.record.attempts) for pair in one}
    assert lengths == {1, 2, 3, 4}


def test_rejected_pairs_are_tried_four_times(generator: Generator) -> None:
    made = pairs(generator, "broken_large", 60)
    for pair in made:
        reasons = [attempt.rejected for attempt in pair.record.attempts]
        assert [attempt.attempt for attempt in pair.record.attempts] == list(range(len(reasons)))
        assert all(reason == "mask under 0.02% of the image" for reason in reasons[:-1])
        assert pair.record.accepted is (reasons[-1] is None)
        assert pair.record.accepted or len(reasons) == 4
        assert pair.record.accepted is bool(pair.mask.any())
    outcomes = {pair.record.accepted for pair in made}
    assert outcomes == {True, False}


def test_without_the_gate_the_first_attempt_stands(generator: Generator) -> None:
    made = pairs(generator, "broken_large", 40, gate=False)
    assert all(pair.record.accepted and len(pair.record.attempts) == 1 for pair in made)
    assert any(not pair.mask.any() for pair in made)


def test_a_start_within_a_batch_keeps_the_alignment(generator: Generator) -> None:
    whole = pairs(generator, "stain", 12, batch=4)
    tail = pairs(generator, "stain", 5, start=6, batch=4)
    assert [pair.record.index for pair in tail] == [6, 7, 8, 9, 10]
    for pair, other in zip(whole[8:11], tail[2:], strict=True):  # those in the same batch: to the byte
        assert pair.image.tobytes() == other.image.tobytes()


def test_seeds_and_indices_differ(generator: Generator) -> None:
    images = [pair.image.tobytes() for seed in (0, 1) for pair in pairs(generator, "good", 10, seed)]
    assert len(set(images)) == 20


def test_normals(generator: Generator) -> None:
    for pair in pairs(generator, "good", 6):
        assert pair.record.accepted
        assert not pair.mask.any()
        assert pair.image.std() > 5


def test_normals_with_a_mask_are_rejected(tmp_path: Path) -> None:
    generator = Generator.open(write_tiny_bundle(tmp_path / "bundle", Toy(bias=48.0)), threads=1)
    (pair,) = generator.generate("good", 1)
    assert [attempt.rejected for attempt in pair.record.attempts] == ["mask of a normal is not empty"] * 4


def test_guidance_and_tau_of_the_request(generator: Generator) -> None:
    plain, guided = (pairs(generator, "stain", 2, gate=False, guidance=g) for g in (1.0, 60.0))
    assert np.abs(plain[0].image.astype(int) - guided[0].image).max() > 2
    low, high = (pairs(generator, "stain", 8, gate=False, tau=tau) for tau in (0.01, 0.9))
    assert sum(pair.mask.mean() for pair in low) > sum(pair.mask.mean() for pair in high)
    assert low[0].record.request.sampling.tau == 0.01


def test_non_finite_masks_are_rejected(tmp_path: Path) -> None:
    generator = Generator.open(write_tiny_bundle(tmp_path / "bundle", Toy(gain=float("nan"))), threads=1)
    (pair,) = generator.generate("stain", 1)
    assert {attempt.rejected for attempt in pair.record.attempts} == {"non-finite values"}


def test_pairs_come_as_their_batch_is_done(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    run = generator._loop.run

    def counting(asked: Any, *rest: Any) -> Any:
        batches.append(len(asked))
        return run(asked, *rest)

    monkeypatch.setattr(generator._loop, "run", counting)
    stream = generator.generate("good", 1000, batch=4)
    next(stream)
    assert batches == [4]


def test_options_are_checked_before_the_first_pair(generator: Generator) -> None:
    with pytest.raises(UserError, match="count"):
        generator.generate("good", 0)


def test_a_bundle_without_noise_input(tmp_path: Path) -> None:
    generator = Generator.open(write_tiny_bundle(tmp_path / "bundle", Toy(noise_input=False)), threads=1)
    assert len(pairs(generator, "stain", 2)) == 2
    with pytest.raises(UserError, match="adds noise in its steps"):
        generator.generate("stain", 1, sampler="ddim_eta", steps=4)


def test_guidance_one_runs_the_graph_without_the_unconditional_half(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = write_tiny_bundle(tmp_path / "older", Toy(unguided=False))
    expected = pairs(Generator.open(older, threads=1), "stain", 4, gate=False, guidance=1)
    loaded: list[str] = []
    generator = Generator.open(tiny_bundle, threads=1)
    load = generator.backend.load

    def noting(bundle: Any, graph: str) -> Any:
        loaded.append(graph)
        return load(bundle, graph)

    monkeypatch.setattr(generator.backend, "load", noting)
    pairs(generator, "stain", 1, gate=False)
    assert loaded == []
    made = pairs(generator, "stain", 4, gate=False, guidance=1)
    assert loaded == ["step_unguided"]
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        np.testing.assert_allclose(one.probability, other.probability, atol=1e-5)


def test_a_bundle_of_guidance_one_never_loads_the_guided_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["sampler"]["guidance"] = 1.0
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    loaded: list[str] = []
    load = OnnxRuntimeCpu.load

    def noting(self: Any, opened: Any, graph: str) -> Any:
        loaded.append(graph)
        return load(self, opened, graph)

    monkeypatch.setattr(OnnxRuntimeCpu, "load", noting)
    generator = Generator.open(bundle, threads=1)
    assert "step_unguided" in loaded
    pairs(generator, "stain", 1, gate=False)
    assert "step" not in loaded
    pairs(generator, "stain", 1, gate=False, guidance=2)
    assert loaded[-1] == "step"


def test_a_large_batch_runs_in_turn_and_is_the_same(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"gate": False, "sampler": "ddim_eta", "steps": 4}
    small = pairs(generator, "stain", 11, batch=4, **options)
    sizes: list[int] = []
    plan = generator._loop._plan

    def noting(sampling: Any, inputs: Any) -> Any:
        sizes.append(len(inputs.origins))
        return plan(sampling, inputs)

    monkeypatch.setattr(generator._loop, "_plan", noting)
    large = pairs(generator, "stain", 11, batch=11, **options)
    assert sizes == [4, 4, 3]
    for one, other in zip(large, small, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.probability, other.probability)
        assert one.record.origin == other.record.origin


def test_a_batch_may_mix_defects_and_seeds(generator: Generator) -> None:
    asked = [("stain", 3, 7), ("good", 3, 7), ("broken_large", 4, 0), ("stain", 5, 7)]
    batch = [
        PairRequest(generator.request(defect, seed, gate=False, tau=0.1 + 0.1 * place), index)
        for place, (defect, seed, index) in enumerate(asked)
    ]
    (mixed,) = generator.generate_batches([batch])
    for place, (pair, (defect, seed, index)) in enumerate(zip(mixed, asked, strict=True)):
        options = {"start": index, "gate": False, "tau": 0.1 + 0.1 * place}
        (alone,) = pairs(generator, defect, 1, seed, **options)
        assert np.abs(pair.image.astype(int) - alone.image).max() <= 1
        assert np.array_equal(pair.mask, alone.mask)
        assert {**pair.record.to_dict(), "times": 0} == {**alone.record.to_dict(), "times": 0}


@pytest.mark.parametrize("other", [{"guidance": 1.0}, {"steps": 3}, {"sampler": "ddim_eta", "steps": 4}])
def test_a_batch_has_one_sampling(generator: Generator, other: dict[str, Any]) -> None:
    batch = [PairRequest(generator.request("stain"), 0), PairRequest(generator.request("stain", **other), 1)]
    with pytest.raises(ValueError, match="one sampler, number of steps, guidance"):
        list(generator.generate_batches([batch]))


def test_options_of_another_method_are_refused(generator: Generator) -> None:
    with pytest.raises(UserError, match="options: expected SeasOptions, those of method seas, found"):
        generator.generate("stain", 1, options={"strength": 0.5})
