from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from seas_runtime.errors import CheckFailed, UserError
from seas_train.bases.base import Base
from seas_train.data import Preprocessing, Product
from seas_train.diffusion.prompt_encoding import encode_prompts, tokenize
from seas_train.methods.seas.finetune.config import AttentionMaps, FinetuneConfig, WeightedRegion
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.precision import Precision, computes_bfloat16
from seas_train.training.random import StepRandom, step_random
from seas_train.training.stage import Batch, LoopConfig
from seas_train.training.state import trained_tensors

CONFIG = FinetuneConfig(
    steps=5,
    unet_learning_rate=1e-3,
    embedding_learning_rate=1e-2,
    optimizer=OptimizerConfig(weight_decay=0.1, gradient_accumulation=2),
)


def train(
    stage: FinetuneStage, folder: Path, config: LoopConfig | None = None, *, resume: bool = False
) -> None:
    run_training(stage, folder, config or LoopConfig(save_every=2), resume=resume, progress=False)


def tensors(stage: FinetuneStage) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trained_tensors(stage.module).items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_only_the_unet_and_the_new_rows_change(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    before = {
        name: {key: value.clone() for key, value in getattr(tiny_base, name).state_dict().items()}
        for name in ("text_encoder", "vae", "unet")
    }
    stage = FinetuneStage(tiny_product, tiny_base, CONFIG)
    started = stage.module.embedding.rows.detach().clone()
    train(stage, tmp_path)
    result = stage.result("fingerprint").models

    rows = len(tiny_base.tokenizer)
    after = {name: getattr(result, name).state_dict() for name in before}
    embedding = next(key for key in before["text_encoder"] if key.endswith("token_embedding.weight"))
    assert after["text_encoder"].keys() == before["text_encoder"].keys()
    for key, value in before["text_encoder"].items():
        kept = after["text_encoder"][key][:rows] if key == embedding else after["text_encoder"][key]
        assert torch.equal(kept, value), key
    assert after["text_encoder"][embedding].shape[0] == rows + 1 + 4 * 2
    assert bool((after["text_encoder"][embedding][rows:] != started).any(dim=1).all()), (
        "every new row is trained"
    )
    assert all(torch.equal(after["vae"][key], value) for key, value in before["vae"].items())
    changed = [key for key, value in before["unet"].items() if not torch.equal(after["unet"][key], value)]
    assert len(changed) == len(before["unet"]), "the U-Net is trained whole"
    for name, values in before.items():
        base_now = getattr(tiny_base, name).state_dict()
        assert all(torch.equal(base_now[key], value) for key, value in values.items()), (
            "the base stays as it is"
        )


def test_the_result_encodes_as_the_trained_model(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, CONFIG)
    train(stage, tmp_path)
    trained = stage.module.context(stage._prompt_ids)
    result = stage.result("fingerprint")
    texts = list(result.prompts.texts.values())
    models = result.models
    assert torch.equal(encode_prompts(models.tokenizer, models.text_encoder, texts, 16), trained)
    assert not any(p.requires_grad for p in [*models.unet.parameters(), *models.text_encoder.parameters()])
    assert models.fingerprint == tiny_base.fingerprint


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("half_precision", [False, True])
def test_resumed_is_unbroken(
    tiny_base: Base,
    tiny_product: Product,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    half_precision: bool,
) -> None:
    config = replace(
        CONFIG,
        half_precision=half_precision,
        optimizer=replace(CONFIG.optimizer, ema=0.9, gradient_clip=0.5),
    )
    unbroken = FinetuneStage(tiny_product, tiny_base, config)
    train(unbroken, tmp_path / "unbroken")
    broken = FinetuneStage(tiny_product, tiny_base, config)
    real, calls = broken.draw, 0

    def draw(random: StepRandom) -> Batch:
        nonlocal calls
        calls += 1
        if calls == 8:  # the second batch of step 4
            raise Interrupted
        return real(random)

    monkeypatch.setattr(broken, "draw", draw)
    with pytest.raises(Interrupted):
        train(broken, tmp_path / "broken")
    resumed = FinetuneStage(tiny_product, tiny_base, config)
    train(resumed, tmp_path / "broken", resume=True)
    assert same(tensors(resumed), tensors(unbroken))


def test_another_configuration_is_not_continued(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    train(FinetuneStage(tiny_product, tiny_base, replace(CONFIG, steps=1)), tmp_path)
    other = replace(CONFIG, steps=1, alignment_weight=0.5)
    with pytest.raises(UserError, match=r"config.alignment_weight: now 0.5, then 1.0"):
        train(FinetuneStage(tiny_product, tiny_base, other), tmp_path, resume=True)


def test_a_batch_mixes_defects_with_their_own_prompts(tiny_base: Base, tiny_product: Product) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, defect_images=4, normal_images=3))
    stage.examples.use(tiny_base.vae)
    batch = stage.draw(step_random(0, "finetune", 1))
    ids = batch.tensors["prompt_ids"][batch.tensors["prompt_index"]]
    for file, row in zip(batch.files, ids, strict=True):
        text = stage.prompts.texts[Path(file).parent.name.lower()]
        assert torch.equal(row, tokenize(stage._tokenizer, [text], 16)[0])
    assert {Path(file).parent.name for file in batch.files[:4]} == {"dark_line", "Spot"}
    assert {Path(file).parent.name for file in batch.files[4:]} == {"good"}
    assert batch.tensors["masks"].shape == (4, 1, 64, 64)
    assert bool(batch.tensors["masks"].flatten(1).any(dim=1).all())
    assert len(batch.tensors["prompt_ids"]) == 3, "each distinct prompt is encoded once"


def test_losses_are_those_of_the_paper(tiny_base: Base, tiny_product: Product) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, alignment_weight=2.0))
    stage.examples.use(tiny_base.vae)
    stage.module.eval()
    batch = stage.draw(step_random(0, "finetune", 1)).tensors
    with torch.no_grad():
        losses = stage.losses(stage.module, batch)
        context = stage.module.context(batch["prompt_ids"])[batch["prompt_index"]]
        error = (
            stage.module.unet(batch["noisy"], batch["timesteps"], context).sample - batch["target"]
        ).square()
    assert float(losses["noise_defect"]) == pytest.approx(float(error[:2].mean()), rel=1e-5)
    assert float(losses["noise_normal"]) == pytest.approx(float(error[2:].mean()), rel=1e-5)
    total = losses["noise_defect"] + losses["noise_normal"] + 2 * losses["alignment"]
    assert float(losses["loss"]) == pytest.approx(float(total), rel=1e-6)


def test_the_noise_is_that_of_the_bases_schedule(tiny_base: Base, tiny_product: Product) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, rotate=False, flip=False))
    stage.examples.use(tiny_base.vae)
    batch = stage.draw(step_random(1, "finetune", 1)).tensors
    cumulative = tiny_base.scheduler.alphas_cumprod[batch["timesteps"]].view(-1, 1, 1, 1)
    clean = (batch["noisy"] - (1 - cumulative).sqrt() * batch["target"]) / cumulative.sqrt()
    examples = [*stage.examples.defects, *stage.examples.normals]
    first = stage.draw(step_random(1, "finetune", 1)).files[0]
    example = next(example for example in examples if str(example.image) == first)
    mean, deviation = stage.examples.moments([example], [example.augmentations[0]])[0]
    distance = (clean[0] / tiny_base.geometry.scaling_factor - mean).abs() / deviation
    assert float(distance.max()) < 6


@pytest.mark.parametrize("maps", AttentionMaps)
def test_the_da_loss_moves_attention_onto_the_mask(
    tiny_base: Base, tiny_product: Product, tmp_path: Path, maps: AttentionMaps
) -> None:
    config = FinetuneConfig(
        steps=40,
        unet_learning_rate=3e-3,
        embedding_learning_rate=3e-2,
        attention=maps,
        rotate=False,
        flip=False,
        optimizer=OptimizerConfig(gradient_clip=1.0),
    )
    stage = FinetuneStage(tiny_product, tiny_base, config)
    stage.examples.use(tiny_base.vae)

    def alignment() -> float:
        stage.module.eval()
        batches = [stage.draw(step_random(7, "check", step)).tensors for step in range(6)]
        with torch.no_grad():
            return float(
                np.mean([float(stage.losses(stage.module, batch)["alignment"]) for batch in batches])
            )

    before = alignment()
    train(stage, tmp_path, LoopConfig(save_every=100))
    assert alignment() < 0.7 * before


def test_a_loss_that_is_not_finite_names_the_photographs(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, CONFIG)
    stage.examples.use(tiny_base.vae)
    bad = stage.examples.normals[1].image
    stage.examples.encode_all(progress=False)
    for key, moments in stage.examples._moments.items():
        if key[0].image == bad:
            moments.fill_(float("nan"))
    with pytest.raises(CheckFailed, match=str(bad)):
        train(stage, tmp_path)


def test_half_precision_and_gradient_checkpointing_train(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    full = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, steps=2))
    train(full, tmp_path / "full")
    half = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, steps=2, gradient_checkpointing=True))
    train(half, tmp_path / "half", LoopConfig(precision=Precision.BF16))
    assert {tensor.dtype for tensor in tensors(half).values()} == {torch.float32}
    losses = [_first_loss(tmp_path / name) for name in ("full", "half")]
    assert losses[0] != losses[1], "computed in bfloat16"
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def _first_loss(run: Path) -> float:
    first = (run / "finetune" / "losses.jsonl").read_text().splitlines()[0]
    return float(json.loads(first)["loss"])


@pytest.mark.skipif(not computes_bfloat16(), reason="this CPU does not compute bfloat16")
def test_previews_in_half_precision_are_nearly_the_same(tiny_base: Base, tiny_product: Product) -> None:
    sheets = [
        FinetuneStage(tiny_product, tiny_base, replace(CONFIG, half_precision=half)).preview().astype(int)
        for half in (False, True)
    ]
    assert not np.array_equal(*sheets)
    assert np.abs(sheets[0] - sheets[1]).mean() < 16


def test_previews_show_every_prompt(tiny_base: Base, tiny_product: Product) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, CONFIG)
    stage.module.eval()
    sheet = stage.preview()
    assert sheet.shape == (3 * 64, 2 * 64, 3)
    assert sheet.dtype == np.uint8
    assert np.array_equal(sheet, stage.preview())


def test_an_image_size_that_the_unet_cannot_halve_is_refused(tiny_base: Base, tiny_product: Product) -> None:
    product = replace(tiny_product, preprocessing=Preprocessing(96))
    with pytest.raises(UserError, match="expected a multiple of 64 for base tiny, found 96"):
        FinetuneStage(product, tiny_base, CONFIG)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.5), (0.4, 0.7), (1.0, 1.0)])
def test_noisy_share_of_the_timesteps(
    tiny_base: Base, tiny_product: Product, share: float, expected: float
) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, noisy_share=share))
    highest = tiny_base.scheduler.config.num_train_timesteps
    timesteps = stage._timesteps(4000, torch.Generator().manual_seed(0))
    assert timesteps.shape == (4000,)
    assert int(timesteps.min()) >= 0
    assert highest * 0.99 < int(timesteps.max()) < highest
    noisy = (timesteps >= highest // 2).double().mean()
    assert float(noisy) == pytest.approx(expected, abs=0.03)


@pytest.mark.skipif(not computes_bfloat16(), reason="this CPU does not compute bfloat16")
def test_half_precision_is_used(tiny_base: Base, tiny_product: Product) -> None:
    def losses(half_precision: bool) -> dict[str, float]:
        stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, half_precision=half_precision))
        stage.prepare(torch.device("cpu"), progress=False)
        batch = stage.draw(step_random(0, "finetune", 1, 0, 0))
        found = stage.losses(stage.module, batch.tensors)
        return {name: float(value.detach()) for name, value in found.items()}

    exact, rounded = losses(False), losses(True)
    for name, value in exact.items():
        assert rounded[name] != value, name
        assert rounded[name] == pytest.approx(value, rel=0.05), name


def test_the_region_of_a_defect_weighs_its_images_alone(tiny_base: Base, tiny_product: Product) -> None:
    """Wherever any of its masks lies, in any augmentation: so it has the square's own symmetries."""
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, region_weight=5.0))
    stage.examples.use(tiny_base.vae)
    batch = stage.draw(step_random(0, "test", 1))
    weights, masks = batch.tensors["weights"], batch.tensors["masks"]
    count, size = len(masks), weights.shape[-1]
    inside = torch.nn.functional.adaptive_max_pool2d(masks.float(), size).bool()
    assert torch.all(weights[:count][inside] == 5)
    assert torch.all((weights[:count] == 5) | (weights[:count] == 1))
    assert torch.equal(weights[:count], weights[:count].rot90(dims=(-2, -1)))
    assert torch.all(weights[count:] == 1)


def test_an_images_own_mask_weighs(tiny_base: Base, tiny_product: Product) -> None:
    """Each defect image's weights are those of its own mask, turned as it is; normals weigh 1."""
    config = replace(CONFIG, region_weight=5.0, weighted_region=WeightedRegion.OWN_MASK)
    stage = FinetuneStage(tiny_product, tiny_base, config)
    stage.examples.use(tiny_base.vae)
    batch = stage.draw(step_random(0, "test", 1))
    weights, masks = batch.tensors["weights"], batch.tensors["masks"]
    inside = torch.nn.functional.adaptive_max_pool2d(masks.float(), weights.shape[-1]).bool()
    assert torch.all(weights[: len(masks)][~inside] == 1)
    assert torch.all(weights[: len(masks)][inside] > 1)
    assert torch.all(weights[len(masks) :] == 1)
