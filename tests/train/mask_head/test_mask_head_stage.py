from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_train.data import Product
from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.mask_head.config import MaskHeadConfig
from seas_train.methods.seas.mask_head.latents import mask_timesteps
from seas_train.methods.seas.mask_head.network.normalization import batch_norms
from seas_train.methods.seas.mask_head.stage import MaskHeadStage
from seas_train.methods.seas.prompts import FineTuned
from seas_train.training.loop import run_training
from seas_train.training.random import step_random
from seas_train.training.stage import LoopConfig

CPU = torch.device("cpu")
CONFIG = MaskHeadConfig(
    steps=4,
    coarse_width=8,
    fine_width=4,
    heads=2,
    groups=3,
    depth=1,
    statistics_batches=2,
    max_timestep=300,
)


class Killed(Exception):
    """Stands for a process that ends."""


class KilledStage(MaskHeadStage):
    """Ends in the middle of its third step."""

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen == 3:
            raise Killed
        return super().losses(model, tensors)


def make(
    tuned: FineTuned,
    product: Product,
    config: MaskHeadConfig = CONFIG,
    kind: type[MaskHeadStage] = MaskHeadStage,
) -> MaskHeadStage:
    examples = Examples(product, tuned.models.geometry, rotate=True, flip=True)
    return kind(tuned, examples, config, seed=5)


def copies(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_killed_and_resumed_equals_unbroken(tmp_path: Path, tuned: FineTuned, small_product: Product) -> None:
    loop = LoopConfig(seed=5, save_every=2)
    unbroken = make(tuned, small_product)
    first = copies(unbroken.head)
    run_training(unbroken, tmp_path / "unbroken", loop, progress=False)
    expected = copies(unbroken.finish())

    with pytest.raises(Killed):
        run_training(make(tuned, small_product, kind=KilledStage), tmp_path / "killed", loop, progress=False)
    resumed = make(tuned, small_product)
    run_training(resumed, tmp_path / "killed", loop, resume=True, progress=False)
    for name, tensor in copies(resumed.finish()).items():
        assert torch.equal(tensor, expected[name]), name
    assert not torch.equal(first["out_layer.2.weight"], expected["out_layer.2.weight"])

    again = make(tuned, small_product)
    run_training(again, tmp_path / "killed", loop, resume=True, progress=False)  # nothing is left to do
    for name, tensor in copies(again.finish()).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_of_another_configuration_is_not_continued(
    tmp_path: Path, tuned: FineTuned, small_product: Product
) -> None:
    short = replace(CONFIG, steps=1, statistics_batches=0)
    run_training(make(tuned, small_product, short), tmp_path, LoopConfig(), progress=False)
    other = make(tuned, small_product, replace(short, gamma=1.0))
    with pytest.raises(UserError, match="gamma"):
        run_training(other, tmp_path, LoopConfig(), resume=True, progress=False)


def test_everything_but_the_head_is_frozen(tuned: FineTuned, small_product: Product) -> None:
    stage = make(tuned, small_product)
    stage.prepare(CPU, progress=False)
    stage.module.train()
    batch = stage.draw(step_random(0, "mask_head", 1))
    stage.losses(stage.module, batch.tensors)["loss"].backward()
    for model in (tuned.models.unet, tuned.models.vae, tuned.models.text_encoder):
        assert not model.training
        assert all(not p.requires_grad and p.grad is None for p in model.parameters())
    trained = [p for group in stage.parameter_groups() for p in group["params"]]
    assert all(p.grad is not None for p in trained)
    assert len(trained) == sum(".conv6." not in name for name, _ in stage.module.named_parameters())


def test_a_batch(tuned: FineTuned, small_product: Product) -> None:
    stage = make(tuned, small_product)
    stage.prepare(CPU, progress=False)
    masks = {
        str(pair.image): torch.from_numpy(small_product.mask(pair))
        for defect in small_product.defects
        for pair in defect.train
    }
    prompts = {
        str(pair.image): index
        for index, defect in enumerate(small_product.defects, start=1)
        for pair in defect.train
    }
    timesteps = []
    for step in range(20):
        batch = stage.draw(step_random(0, "mask_head", step))
        tensors = batch.tensors
        assert tensors["sample"].shape == (4, 4, 8, 8)
        assert tensors["prompts"].tolist() == [prompts.get(file, 0) for file in batch.files]
        assert tensors["prompts"][2:].tolist() == [0, 0]
        assert tensors["masks"].shape == (2, 64, 64)
        for mask, file in zip(tensors["masks"], batch.files, strict=False):
            assert mask.sum() == masks[file].sum()
        timesteps += tensors["timesteps"].tolist()
    assert max(timesteps) < 300
    assert min(timesteps) < 60
    assert len(set(timesteps)) > 40


def test_normals_skip_the_refinement(tuned: FineTuned, small_product: Product) -> None:
    stage = make(tuned, small_product)
    stage.prepare(CPU, progress=False)
    sizes: list[int] = []
    stage.head.MRM1.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    stage.losses(stage.module, stage.draw(step_random(0, "mask_head", 1)).tensors)
    assert sizes == [2]


def test_finish_measures_the_statistics_at_generations_timesteps(
    tuned: FineTuned, small_product: Product
) -> None:
    stage = make(tuned, small_product)
    stage.prepare(CPU, progress=False)
    norm = stage.head.MRM3.conv1[1]
    seen: list[Tensor] = []
    hook = norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    timesteps: list[int] = []
    draw = stage._draw
    stage._draw = lambda *arguments: (  # type: ignore[method-assign]
        timesteps.extend((batch := draw(*arguments)).tensors["timesteps"].tolist()) or batch
    )
    head = stage.finish()
    hook.remove()
    assert not head.training
    assert set(timesteps) <= set(mask_timesteps(tuned.models.scheduler))
    assert len(timesteps) == 8
    assert len(seen) == 2
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(norm.stored_mean, mean, atol=1e-6, rtol=1e-5)
    variance = torch.stack([x.var(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(norm.stored_var, variance, atol=1e-6, rtol=1e-4)
    assert {norm.momentum for norm in batch_norms(head)} == {0.1}

    before = copies(head)
    assert all(torch.equal(before[name], tensor) for name, tensor in copies(stage.finish()).items())


def test_finish_calibrates_the_threshold(
    tuned: FineTuned, small_product: Product, caplog: pytest.LogCaptureFixture
) -> None:
    plain = copies(make(tuned, small_product).finish())
    with caplog.at_level("INFO"):
        moved = copies(make(tuned, small_product, replace(CONFIG, calibrate_to=0.2)).finish())
    assert {name for name in plain if not torch.equal(plain[name], moved[name])} <= {"out_layer.2.bias"}
    (message,) = (record.getMessage() for record in caplog.records if "best threshold" in record.getMessage())
    found = float(message.split(" is ")[1].split(",")[0])
    shift = math.log(0.2 / 0.8) - math.log(found / (1 - found))
    difference = (moved["out_layer.2.bias"] - plain["out_layer.2.bias"]).tolist()
    assert difference == pytest.approx([0.0, shift], abs=1e-5)


def test_the_seed_decides_the_first_weights(tuned: FineTuned, small_product: Product) -> None:
    examples = Examples(small_product, tuned.models.geometry, rotate=False, flip=False)
    heads = [copies(MaskHeadStage(tuned, examples, CONFIG, seed=seed).head) for seed in (1, 1, 2)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert not torch.equal(heads[0]["out_layer.2.weight"], heads[2]["out_layer.2.weight"])


def test_preview(tuned: FineTuned, small_product: Product) -> None:
    stage = make(tuned, small_product)
    stage.prepare(CPU, progress=False)
    sheet = stage.preview()
    assert sheet is not None
    assert sheet.shape == (3 * 64, 3 * 64, 3)
    assert (sheet[:64, :64] == small_product.image(small_product.defects[0].train[0].image)).all()
    assert set(sheet[:, 64:128].ravel().tolist()) == {0, 255}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: expected 1 or more"),
        ({"normal_images": 0}, "normal_images: expected 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate: expected more than 0"),
        ({"heads": 5}, "heads: expected a divisor"),
        ({"groups": 5}, "groups: expected a divisor"),
        ({"gamma": -1.0}, "gamma: expected 0 or more"),
        ({"alpha": 1.0}, "alpha: expected between 0 and 1"),
        ({"max_timestep": 0}, "max_timestep: expected 1 or more"),
        ({"calibrate_to": 0.0}, "calibrate_to: expected between 0 and 1"),
        ({"statistics_batches": -1}, "statistics_batches: expected 0 or more"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(CONFIG, **change)
