from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seas_runtime.errors import UserError
from seas_runtime.placement.morphology import connected_parts
from seas_train.data import Product
from seas_train.diffusion.taps import decode_taps
from seas_train.methods.seas.mask_head import evaluation as evaluate
from seas_train.methods.seas.mask_head.config import MaskHeadConfig
from seas_train.methods.seas.mask_head.evaluation import (
    DefectScore,
    MaskScores,
    evaluate_masks,
    mask_probability,
)
from seas_train.methods.seas.mask_head.latents import (
    Features,
    Models,
    Reading,
    generation_features,
    mask_timesteps,
    previous_sample,
)
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.mask_head.specks import measure_speck
from seas_train.methods.seas.mask_head.stage import initial_head
from seas_train.methods.seas.prompts import FineTuned
from seas_train.training.precision import computes_bfloat16

CONFIG = MaskHeadConfig(coarse_width=8, fine_width=4, heads=2, groups=3, depth=1)


@pytest.fixture(scope="module")
def head(tuned: FineTuned) -> MaskHead:
    return initial_head(CONFIG, tuned, seed=0).eval()


def test_masks_are_read_at_the_last_three_of_25_steps() -> None:
    from diffusers import PNDMScheduler

    # Evenly spaced where a scheduler's file says nothing; what diffusers fills in then does not count.
    for options in ({}, {"timestep_spacing": "linspace"}):
        scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, **options)
        assert mask_timesteps(scheduler) == [120, 80, 40]
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, timestep_spacing="leading")
    assert mask_timesteps(scheduler) == [115, 77, 39]


def test_previous_sample_is_a_ddim_step(tuned: FineTuned) -> None:
    from diffusers import DDIMScheduler

    ddim = DDIMScheduler.from_config(
        tuned.models.scheduler.config, set_alpha_to_one=True, clip_sample=False, timestep_spacing="linspace"
    )
    ddim.set_timesteps(1000)
    sample, prediction = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    ours = previous_sample(tuned.models.scheduler, sample, prediction, torch.tensor([999, 40, 0]))
    for index, timestep in enumerate((999, 40, 0)):
        theirs = ddim.step(prediction[index], timestep, sample[index]).prev_sample
        torch.testing.assert_close(ours[index], theirs, atol=1e-4, rtol=1e-5)


def test_generation_decodes_the_latents_before_the_step(tuned: FineTuned, head: MaskHead) -> None:
    sample = torch.randn(1, 4, 8, 8)
    features = generation_features(tuned.models, head, sample, 80, torch.randn(1, 16, 16))
    expected = decode_taps(tuned.models.vae, sample / tuned.models.geometry.scaling_factor)
    assert [tuple(tap.shape) for tap in features.vae] == [(1, 16, 16, 16), (1, 16, 32, 32), (1, 8, 64, 64)]
    for tap, other in zip(features.vae, expected, strict=True):
        torch.testing.assert_close(tap, other.detach())


def test_probability_is_the_mean_over_timesteps(tuned: FineTuned, head: MaskHead) -> None:
    latents, noise, context = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.randn(2, 16, 16)
    one_by_one = [
        mask_probability(tuned.models, head, latents, noise, context, Reading((t,))) for t in (80, 40)
    ]
    together = mask_probability(tuned.models, head, latents, noise, context, Reading((80, 40)))
    torch.testing.assert_close(together, (one_by_one[0] + one_by_one[1]) / 2)
    assert not torch.equal(one_by_one[0], one_by_one[1])


def test_scores_by_hand() -> None:
    score = DefectScore("dent", pairs=2, true=10, predicted=8, intersection=6, pixels=40)
    assert score.iou == pytest.approx(6 / 12)
    assert score.precision == pytest.approx(0.75)
    assert score.recall == pytest.approx(0.6)
    assert DefectScore("dent", pairs=1, true=0, predicted=0, intersection=0).iou == 0.0
    scores = MaskScores(tau=0.2, timesteps=(40,), defects=(score,), normals=3, empty_normals=2)
    assert scores.to_dict()["defects"]["dent"] == {
        "pairs": 2,
        "iou": 0.5,
        "precision": 0.75,
        "recall": 0.6,
        "area": 0.25,
    }
    assert "2 of 3" in scores.to_text()


def test_evaluation_counts_held_out_pixels_whatever_the_batch(
    tuned: FineTuned, head: MaskHead, small_product: Product
) -> None:
    texts = tuned.prompts.texts
    # An untrained head's probabilities lie around one half, so this threshold splits them.
    scores = evaluate_masks(tuned.models, head, texts, small_product, tau=0.5, batch=1)
    assert [score.defect for score in scores.defects] == [d.name for d in small_product.defects]
    for score, defect in zip(scores.defects, small_product.defects, strict=True):
        assert score.pairs == len(defect.test) == 3
        assert score.true == sum(int(small_product.mask(pair).sum()) for pair in defect.test)
        assert 0 < score.predicted < 3 * 64 * 64
        assert 0 <= score.intersection <= min(score.true, score.predicted)
    assert scores.normals == 3
    other = evaluate_masks(tuned.models, head, texts, small_product, tau=0.5, batch=3)
    for a, b in zip(scores.defects, other.defects, strict=True):
        assert abs(a.predicted - b.predicted) <= 0.002 * 3 * 64 * 64

    everything = evaluate_masks(tuned.models, head, texts, small_product, tau=0.0, limit=1, normals=1)
    for score in everything.defects:
        assert (score.pairs, score.predicted, score.intersection) == (1, 64 * 64, score.true)
    assert (everything.normals, everything.empty_normals) == (1, 0)
    specks = evaluate_masks(tuned.models, head, texts, small_product, tau=0.0, speck=64 * 64 + 1, limit=1)
    assert [score.predicted for score in specks.defects] == [0, 0, 0]
    nothing = evaluate_masks(tuned.models, head, texts, small_product, tau=1.0, limit=1)
    assert [score.predicted for score in nothing.defects] == [0, 0, 0]
    assert nothing.empty_normals == nothing.normals == 3


@pytest.mark.skipif(not computes_bfloat16(), reason="this CPU does not compute bfloat16")
def test_half_precision_scores_nearly_the_same(
    tuned: FineTuned, head: MaskHead, small_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.dtype] = []
    taps = evaluate.generation_features

    def watched(
        models: Models,
        head: MaskHead,
        sample: torch.Tensor,
        timestep: int,
        context: torch.Tensor,
        *more: bool,
    ) -> Features:
        features = taps(models, head, sample, timestep, context, *more)
        seen.extend((sample.dtype, features.fine.dtype))
        return features

    monkeypatch.setattr(evaluate, "generation_features", watched)
    texts = tuned.prompts.texts
    full, half = (
        evaluate_masks(tuned.models, head, texts, small_product, tau=0.5, half_precision=wanted)
        for wanted in (False, True)
    )
    # The noised latents stay in float32, where the schedule is exact; the models' features do not.
    assert set(seen[: len(seen) // 2]) == {torch.float32}
    assert seen[len(seen) // 2 :] == [torch.float32, torch.bfloat16] * (len(seen) // 4)
    for a, b in zip(full.defects, half.defects, strict=True):
        assert a.true == b.true
        assert abs(a.predicted - b.predicted) <= 0.05 * 3 * 64 * 64


def test_what_cannot_be_evaluated(tuned: FineTuned, head: MaskHead, small_product: Product) -> None:
    with pytest.raises(UserError, match=f"expected one for '{small_product.defects[0].name}'"):
        evaluate_masks(tuned.models, head, {"good": "a <ob>"}, small_product)


def test_normals_are_scored_where_no_pair_was_held_out(
    tuned: FineTuned, head: MaskHead, small_product: Product
) -> None:
    bare = replace(small_product, defects=(replace(small_product.defects[0], test=()),))
    scores = evaluate_masks(tuned.models, head, tuned.prompts.texts, bare, tau=1.0)
    assert scores.defects == ()
    assert scores.empty_normals == scores.normals == 3
    assert "3 of 3" in scores.to_text()


def test_a_speck_is_smaller_than_the_smallest_training_defect(small_product: Product) -> None:
    parts = [
        max(np.bincount(connected_parts(small_product.mask(pair))[0].ravel())[1:])
        for defect in small_product.defects
        for pair in defect.train
    ]
    assert measure_speck(small_product, 0.5, 0) == int(0.5 * min(parts)) > 0
    assert measure_speck(small_product, 0, 0) == 0
