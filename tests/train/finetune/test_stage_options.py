"""Options of stage 1 beside the authors': tokens, words, noise, v, no NA loss, pictures of attention."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.diffusion.prediction import predicted_noise, training_target
from seas_train.diffusion.sampling import heat_map
from seas_train.methods.seas.finetune.config import FinetuneConfig, TrainedTokens
from seas_train.methods.seas.finetune.losses import offset_noise
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.methods.seas.mask_head.latents import previous_sample
from seas_train.methods.seas.prompts import Prompts, add_tokens
from seas_train.settings import overlay
from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig, Schedule, learning_rate_share
from seas_train.training.random import step_random
from seas_train.training.stage import LoopConfig

CONFIG = FinetuneConfig(steps=2, anomaly_tokens=2, unet_learning_rate=1e-3, embedding_learning_rate=1e-2)


def staged(product: Product, base: Base, **changes: object) -> FinetuneStage:
    stage = FinetuneStage(product, base, replace(CONFIG, **changes))  # type: ignore[arg-type]
    stage.prepare(torch.device("cpu"), progress=False)
    return stage


def v_prediction(base: Base) -> Base:
    scheduler = DDPMScheduler.from_config(base.scheduler.config, prediction_type="v_prediction")
    return replace(base, scheduler=scheduler)


def test_a_base_that_predicts_v_is_trained_on_v(tiny_base: Base, tiny_product: Product) -> None:
    """Against diffusers' own velocity and step."""
    base = v_prediction(tiny_base)
    random = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(3, 4, 8, 8, generator=random) for _ in range(2))
    timesteps = torch.tensor([3, 500, 990])
    v = training_target(base.scheduler, latents, noise, timesteps)
    assert torch.allclose(v, base.scheduler.get_velocity(latents, noise, timesteps), atol=1e-6)
    noisy = base.scheduler.add_noise(latents, noise, timesteps)
    assert torch.allclose(predicted_noise(base.scheduler, noisy, v, timesteps), noise, atol=1e-5)
    assert training_target(tiny_base.scheduler, latents, noise, timesteps) is noise
    previous = previous_sample(base.scheduler, noisy, noise, timesteps)
    assert torch.allclose(
        previous, base.scheduler.add_noise(latents, noise, timesteps - 1), atol=1e-4
    )  # what stage 2 decodes

    plain, ours = (staged(tiny_product, one).draw(step_random(0, "finetune", 1)) for one in (tiny_base, base))
    assert torch.equal(plain.tensors["noisy"], ours.tensors["noisy"])
    assert not torch.allclose(plain.tensors["target"], ours.tensors["target"])


def test_without_normal_alignment_no_normal_is_drawn(tiny_base: Base, tiny_product: Product) -> None:
    stage = staged(tiny_product, tiny_base, normal_alignment=False)
    batch = stage.draw(step_random(0, "finetune", 1))
    assert len(batch.tensors["noisy"]) == CONFIG.defect_images
    losses = stage.losses(stage.module, batch.tensors)
    assert float(losses["noise_normal"]) == 0
    assert float(losses["loss"]) == pytest.approx(
        float(losses["noise_defect"] + losses["alignment"]), rel=1e-6
    )


def test_more_normal_tokens_and_other_first_words(tiny_base: Base, tiny_product: Product) -> None:
    stage = staged(tiny_product, tiny_base, normal_tokens=3, normal_word="part", anomaly_word="hole")
    assert stage.prompts.tokens[:3] == ("<ob_1>", "<ob_2>", "<ob_3>")
    assert stage.prompts.texts["good"] == "a <ob_1> <ob_2> <ob_3>"
    weight = tiny_base.text_encoder.get_input_embeddings().weight
    for word, rows in (("part", slice(0, 3)), ("hole", slice(3, None))):
        ids = tiny_base.tokenizer(word, add_special_tokens=False).input_ids
        expected = weight[ids].mean(dim=0)
        assert torch.allclose(
            stage.module.embedding.rows[rows], expected.expand_as(stage.module.embedding.rows[rows])
        )
    batch = stage.draw(step_random(0, "finetune", 1))
    assert math.isfinite(float(stage.losses(stage.module, batch.tensors)["alignment"]))
    assert len(stage._normal_positions) == 3


def test_a_defect_called_like_the_products_tokens_is_told(tiny_base: Base) -> None:
    import copy

    prompts = Prompts(("ob",), 2, normal_tokens=2)
    with pytest.raises(UserError, match=r"<ob_1>, <ob_2> would be the product's and a defect's"):
        add_tokens(copy.deepcopy(tiny_base.tokenizer), prompts.tokens)


def test_a_frozen_text_encoder_stays(tiny_base: Base, tiny_product: Product, tmp_path: Path) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, trained_tokens=TrainedTokens.NONE))
    before = stage.module.embedding.rows.detach().clone()
    unet = {name: value.clone() for name, value in stage.module.unet.state_dict().items()}
    run_training(stage, tmp_path, LoopConfig(save_every=2), resume=False, progress=False)
    assert torch.equal(stage.module.embedding.rows, before)
    assert any(not torch.equal(value, unet[name]) for name, value in stage.module.unet.state_dict().items())


def test_offset_noise_has_its_statistics() -> None:
    """The deviation of a channel's mean is sqrt(1 / pixels + strength^2); 0 draws what was always drawn."""
    made = offset_noise((4000, 4, 8, 8), 0.3, torch.Generator().manual_seed(1))
    means = made.mean(dim=(2, 3))
    assert float(means.std()) == pytest.approx(math.sqrt(1 / 64 + 0.09), rel=0.02)
    assert float((made - means[..., None, None]).std()) == pytest.approx(math.sqrt(63 / 64), rel=0.01)
    plain = offset_noise((2, 4, 8, 8), 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(plain, torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(1)))


def test_previews_show_where_each_token_looks(tiny_base: Base, tiny_product: Product) -> None:
    plain = staged(tiny_product, tiny_base).preview()
    stage = staged(tiny_product, tiny_base, attention_previews=True)
    sheet = stage.preview()
    size, prompts = tiny_product.preprocessing.size, 1 + len(tiny_product.defects)
    assert plain.shape == (prompts * size, 2 * size, 3)
    assert sheet.shape == (prompts * size, (2 + 1 + CONFIG.anomaly_tokens) * size, 3)
    assert np.array_equal(sheet[:, : 2 * size], plain)
    assert not sheet[:size, 3 * size :].any()  # the normal prompt has one token
    assert sheet[size:, 3 * size :].any()


def test_a_heat_map_is_red_where_attention_is() -> None:
    attention = torch.zeros(4, 4)
    attention[0, 3] = 1
    made = heat_map(np.full((8, 8, 3), 100, np.uint8), attention).astype(int)
    redness = made[..., 0] - made[..., 1]
    assert np.unravel_index(redness.argmax(), redness.shape) == (0, 7)
    assert redness[4:, :4].max() == 0
    assert (made[4:, :4] == 100).all()


@pytest.mark.parametrize(
    ("schedule", "name", "options"),
    [
        (Schedule.LINEAR, "linear", {}),
        (Schedule.COSINE, "cosine", {}),
        (Schedule.COSINE_RESTARTS, "cosine_with_restarts", {"num_cycles": 3}),
        (Schedule.POLYNOMIAL, "polynomial", {"power": 2.0}),
    ],
)
def test_learning_rates_are_diffusers(schedule: Schedule, name: str, options: dict[str, float]) -> None:
    """Without warm-up; of the polynomial, theirs ends at 1e-7 of a rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = get_scheduler(name, optimizer, num_warmup_steps=0, num_training_steps=40, **options)
    config = OptimizerConfig(schedule=schedule, restarts=3 if options.get("num_cycles") else 1)
    for step in range(1, 41):
        optimizer.step()
        theirs.step()
        assert learning_rate_share(config, step, 40) == pytest.approx(theirs.get_last_lr()[0], abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"normal_tokens": 0}, {"offset_noise": -0.1}, {"normal_word": " "}, {"trained_tokens": "some"}],
)
def test_bad_values_are_told(changes: dict[str, object]) -> None:
    (key,) = changes
    with pytest.raises(UserError, match=key):
        overlay(CONFIG, changes, "the command line")
