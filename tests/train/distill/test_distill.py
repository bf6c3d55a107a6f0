from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_train import Checkpoint, load_checkpoint
from seas_train.bases import base as bases
from seas_train.bases.base import load_base
from seas_train.data import PhotographsConfig, Product, load_product
from seas_train.diffusion.examples import Examples
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.distill.config import DistillConfig, DistillStageConfig
from seas_train.methods.seas.distill.stage import DistillStage
from seas_train.methods.seas.distill.training import defaults, distill, estimate, teacher_of
from seas_train.methods.table import find_method
from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.precision import Precision
from seas_train.training.random import step_random
from seas_train.training.stage import LoopConfig
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.methods.trained import train_tiny

HEAD = {
    "steps": 2,
    "coarse_width": 8,
    "fine_width": 4,
    "heads": 2,
    "groups": 3,
    "depth": 1,
    "statistics_batches": 2,
}
STAGE = DistillStageConfig(steps=6, learning_rate=1e-3, optimizer=OptimizerConfig(gradient_clip=1.0, ema=0.9))
LORA = replace(STAGE, lora_rank=2, lora_learning_rate=1e-2)


class Killed(Exception):
    """Stands for a process that ends."""


class KilledStage(DistillStage):
    """Ends in its fifth step."""

    seen = 0

    def losses(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.seen += 1
        if self.seen == 5:
            raise Killed
        return super().losses(model, tensors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a product and the checkpoint that was trained on it."""
    made = tmp_path_factory.mktemp("teacher")
    train_tiny(
        made, "seas", {"finetune": {"steps": 2, "normal_augmentations": 1}, "mask_head": HEAD}, pairs=6
    )
    return made


@pytest.fixture
def teacher(folder: Path) -> Checkpoint:
    return load_checkpoint(folder / "checkpoint")


@pytest.fixture(scope="module")
def product(folder: Path) -> Product:
    return load_product(folder / "plate", size=IMAGE_SIZE)


def make(
    teacher: Checkpoint,
    product: Product,
    config: DistillStageConfig = STAGE,
    kind: type[DistillStage] = DistillStage,
    guidance: float = 3.0,
) -> DistillStage:
    examples = Examples(product, teacher.geometry, rotate=True, flip=True, normal_augmentations=1)
    return kind(teacher_of(teacher), examples, config, guidance=guidance, steps=4)


def trained(stage: DistillStage, folder: Path, *, resume: bool = False) -> dict[str, Tensor]:
    loop = LoopConfig(seed=5, save_every=2)
    run_training(stage, folder, loop, resume=resume, progress=False)
    unet = stage.result("fingerprint").models.unet
    return {name: tensor.clone() for name, tensor in unet.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("config", [STAGE, LORA], ids=["whole", "lora"])
def test_killed_and_resumed_equals_unbroken(
    teacher: Checkpoint, product: Product, tmp_path: Path, config: DistillStageConfig
) -> None:
    """Weights, and the average that is both target and result."""
    before = {name: tensor.clone() for name, tensor in teacher.unet.state_dict().items()}
    expected = trained(make(teacher, product, config), tmp_path / "unbroken")
    with pytest.raises(Killed):
        trained(make(teacher, product, config, KilledStage), tmp_path / "killed")
    assert same(trained(make(teacher, product, config), tmp_path / "killed", resume=True), expected)
    assert not same(expected, before)
    assert same(teacher.unet.state_dict(), before), "the teacher stays as it is"
    if config is LORA:
        changed = {name for name, tensor in before.items() if not torch.equal(tensor, expected[name])}
        assert changed
        assert all(".attn" in name for name in changed)


@pytest.mark.parametrize("level", ["low", "medium"])
def test_memory_levels_train_in_half_precision(
    teacher: Checkpoint, product: Product, tmp_path: Path, level: str
) -> None:
    given = find_method("seas").distillation.memory(level, None)
    config = defaults(teacher, product).updated(given).updated({"distill": {"steps": 2}})
    assert config.precision is Precision.BF16
    assert config.distill.gradient_checkpointing
    assert bool(config.distill.lora_rank) == (level == "low")
    stage = make(teacher, product, config.distill)
    loop = replace(config.loop, preview_every=2)
    run_training(stage, tmp_path, loop, progress=False)
    assert list((tmp_path / "distill" / "previews").iterdir())
    unet = stage.result("fingerprint").models.unet
    assert {parameter.dtype for parameter in unet.parameters()} == {torch.float32}
    assert not same(unet.state_dict(), teacher.unet.state_dict())


@pytest.mark.parametrize("config", [STAGE, LORA], ids=["whole", "lora"])
def test_the_teachers_step_is_ddim_with_guidance(
    teacher: Checkpoint, product: Product, config: DistillStageConfig
) -> None:
    stage = make(teacher, product, config)
    stage.prepare(torch.device("cpu"), progress=False)
    stage.follow({})
    if config is LORA:  # adapters that do something, which the teacher must not have
        for name, parameter in stage.module.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_()
    batch = stage.draw(step_random(0, "distill", 1)).tensors
    context = torch.cat([teacher.context(text) for text in teacher.prompts.values()])[batch["prompts"]]
    scheduler = DDIMScheduler.from_config(teacher.scheduler.config, clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(50)
    timesteps = torch.tensor([19, 259, 519, 999])
    with torch.no_grad():
        made = stage._teacher_step(batch["noisy"], timesteps, timesteps - 20, context)
        for row, timestep in enumerate(timesteps[1:].tolist(), 1):
            one = batch["noisy"][row : row + 1]
            texts = torch.cat([teacher.context(""), context[row : row + 1]])
            without, conditional = teacher.unet(torch.cat([one, one]), timestep, texts).sample.chunk(2)
            guided = without + 3.0 * (conditional - without)
            expected = scheduler.step(guided, timestep, one).prev_sample
            torch.testing.assert_close(made[row : row + 1], expected, rtol=1e-4, atol=1e-4)


def test_the_loss_is_between_neighbours_on_a_path(teacher: Checkpoint, product: Product) -> None:
    """The student's x0 from x_t and the average's from x_s, by pseudo-Huber, with the weights of latents."""
    stage = make(teacher, product, replace(STAGE, huber=0.1))
    stage.prepare(torch.device("cpu"), progress=False)
    average = {name: tensor + 0.01 for name, tensor in stage.module.named_parameters()}
    stage.follow(average)
    tensors = {**stage.draw(step_random(0, "distill", 1)).tensors, "timesteps": torch.tensor([519] * 4)}
    levels = teacher.scheduler.alphas_cumprod

    def guess(unet: nn.Module, sample: Tensor, timestep: int) -> Tensor:
        predicted = unet(sample, timestep, context).sample
        return (sample - (1 - levels[timestep]).sqrt() * predicted) / levels[timestep].sqrt()

    with torch.no_grad():
        losses = stage.losses(stage.module, tensors)
        context = torch.cat([teacher.context(text) for text in teacher.prompts.values()])[tensors["prompts"]]
        before = stage._teacher_step(
            tensors["noisy"], tensors["timesteps"], tensors["timesteps"] - 20, context
        )
        made = guess(stage.module, tensors["noisy"], 519)
        for name, parameter in stage.module.named_parameters():
            parameter.data.copy_(average[name])
        apart = made - guess(stage.module, before, 499)
        expected = ((apart.square() + 0.01).sqrt() - 0.1).mean()
    torch.testing.assert_close(losses["loss"], expected, rtol=1e-3, atol=1e-4)


def test_guesses_along_a_path_come_together(teacher: Checkpoint, product: Product, tmp_path: Path) -> None:
    stage = make(teacher, product, replace(STAGE, steps=40, learning_rate=2e-3))
    run_training(stage, tmp_path, LoopConfig(seed=5, save_every=100), progress=False)
    lines = (tmp_path / "distill" / "losses.jsonl").read_text().splitlines()
    assert len(lines) >= 1
    stage.prepare(torch.device("cpu"), progress=False)

    def apart(unet: nn.Module) -> float:
        stage.follow(dict(unet.named_parameters()))
        draws = [stage.draw(step_random(9, "distill", index)).tensors for index in range(6)]
        with torch.no_grad():
            return sum(float(stage.losses(unet, tensors)["loss"]) for tensors in draws)

    assert apart(stage.module) < 0.9 * apart(teacher.unet)
    assert stage.preview().shape == (3 * IMAGE_SIZE, 2 * IMAGE_SIZE, 3)


def test_the_students_checkpoint(folder: Path, teacher: Checkpoint, product: Product, tmp_path: Path) -> None:
    config = defaults(teacher, product).updated({"student_steps": 2, "distill": {"steps": 2}})
    assert config.mask_head.to_dict() == teacher.meta["training"]["mask_head"]
    distill(teacher, product, tmp_path / "student", tmp_path / "run", config, progress=False)
    student = load_checkpoint(tmp_path / "student")
    generation = student.meta["generation"]
    assert {key: generation[key] for key in ("sampler", "steps", "guidance", "mask_steps", "decoded")} == {
        "sampler": "lcm",
        "steps": 2,
        "guidance": 1.0,
        "mask_steps": 1,
        "decoded": "x0",
    }
    assert generation["tau"] == teacher.meta["generation"]["tau"]
    assert student.prompts == teacher.prompts
    assert student.meta["teacher"]["fingerprint"] == teacher.fingerprint != student.fingerprint
    assert torch.equal(student.references, teacher.references)
    assert same(student.text_encoder.state_dict(), teacher.text_encoder.state_dict())
    assert not same(student.unet.state_dict(), teacher.unet.state_dict())
    with pytest.raises(UserError, match=r"it is a student already; distill the checkpoint"):
        distill(student, product, tmp_path / "again", tmp_path / "run2", config, progress=False)
    fewer = load_product(folder / "plate", PhotographsConfig(normals=1), size=IMAGE_SIZE)
    with pytest.raises(UserError, match=r"expected the photographs of its training .*--shots, --normals"):
        distill(teacher, fewer, tmp_path / "again", tmp_path / "run2", config, progress=False)
    assert not (tmp_path / "again").exists()


def test_the_estimate_counts_teacher_average_and_both_halves(teacher: Checkpoint, product: Product) -> None:
    whole = defaults(teacher, product).updated({"distill": STAGE.to_dict()})
    adapters = whole.updated({"distill": {"lora_rank": 2}})
    found, smaller = estimate(teacher, product, whole), estimate(teacher, product, adapters)
    weights = sum(parameter.numel() for parameter in teacher.unet.parameters()) * 4
    assert found.parts["the teacher"] == found.parts["average"] == weights
    assert smaller.host["the teacher, to merge into"] == weights
    assert smaller.parts["average"] < weights / 10
    assert smaller.trained < found.trained
    assert found.flops > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student_steps": 9}, r"student_steps: expected 1 to 8, found 9"),
        ({"student_steps": 1, "mask_steps": 2}, r"mask_steps: expected at most the student's 1 steps"),
        ({"distill": {"optimizer": {"ema": 0.0}}}, r"ema: expected above 0: the average is the target"),
        ({"distill": {"half_frozen": True}}, r"half_frozen: expected lora_rank of 1 or more"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DistillConfig().updated(options)


def test_large_bases_start_from_the_scripts_settings(
    tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "SMALL_BASE_PARAMETERS", 0)
    base = load_base(write_tiny_base(tmp_path / "base"))
    config = DistillConfig.of(base, product, TrainConfig())
    assert (config.distill.skip, config.distill.huber, config.distill.optimizer.ema) == (20, 1e-3, 0.95)
    assert config.distill.steps == 250 * len(product.defects)
