from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.data import Layout
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.finetune.config import AttentionMaps, FinetuneConfig
from seas_train.training.optimizer import Schedule
from seas_train.training.precision import Precision


@pytest.fixture(scope="module")
def large_base(tiny_base: Base) -> Base:
    """What counts as Stable Diffusion 1.x; its U-Net has size and nothing else."""
    with torch.device("meta"):
        unet = torch.nn.Linear(10_000, 10_000)
    return replace(tiny_base, unet=unet)


def test_defaults_for_stable_diffusion_are_the_authors(large_base: Base) -> None:
    config = TrainConfig.for_base(large_base, defects=3)
    finetune, optimizer = config.finetune, config.finetune.optimizer
    assert (finetune.steps, config.mask_head.steps) == (2400, 2400)
    assert (finetune.unet_learning_rate, finetune.embedding_learning_rate) == (4e-6, 4e-5)
    assert (finetune.defect_images, finetune.normal_images, finetune.anomaly_tokens) == (2, 2, 4)
    assert (optimizer.betas, optimizer.weight_decay) == ((0.9, 0.999), 0.01)
    assert (optimizer.gradient_accumulation, optimizer.schedule) == (2, Schedule.CONSTANT)
    assert optimizer.eight_bit
    assert (optimizer.ema, optimizer.gradient_clip) == (0, 0)
    assert finetune.attention is AttentionMaps.PAPER
    assert config.mask_head.learning_rate == 5e-4
    assert (config.generation.guidance, config.generation.tau) == (8.0, 0.2)


def test_a_small_base_has_its_own(tiny_base: Base) -> None:
    config = TrainConfig.for_base(tiny_base, defects=3)
    assert config.finetune.unet_learning_rate > 1e-5
    assert config.mask_head.coarse_width + config.mask_head.fine_width == 192 // 4


@pytest.mark.parametrize(
    ("layout", "guidance", "of_a_small_base", "augmented"),
    [(Layout.MVTEC, 8.0, 3.5, True), (Layout.VISA, 2.0, 2.0, False), (Layout.MVTEC3D, 5.0, 3.5, True)],
)
def test_layouts_have_presets(
    tiny_base: Base,
    layout: Layout,
    guidance: float,
    of_a_small_base: float,
    augmented: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig.for_base(tiny_base, 1, layout)
    assert config.generation.guidance == of_a_small_base
    monkeypatch.setattr("seas_train.methods.seas.config.is_small", lambda base: False)
    assert TrainConfig.for_base(tiny_base, 1, layout).generation.guidance == guidance
    assert {config.finetune.rotate, config.finetune.flip} == {augmented}


def test_updated_from_a_files_values() -> None:
    config = TrainConfig().updated(
        {
            "seed": 5,
            "precision": "bf16",
            "finetune": {
                "unet_learning_rate": "4e-6",  # YAML's reading of 4e-6
                "embedding_learning_rate": 1,
                "attention": "authors",
                "normal_augmentations": 3,
                "optimizer": {"betas": [0.8, 0.9], "schedule": "cosine"},
            },
        }
    )
    assert (config.seed, config.precision) == (5, Precision.BF16)
    assert config.finetune.unet_learning_rate == 4e-6
    assert config.finetune.embedding_learning_rate == 1.0
    assert config.finetune.attention is AttentionMaps.AUTHORS
    assert config.finetune.normal_augmentations == 3
    assert config.finetune.optimizer.betas == (0.8, 0.9)
    assert config.finetune.steps == FinetuneConfig().steps
    assert TrainConfig().updated(config.to_dict()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, "train.yaml: unknown option 'sed'; expected one of .*seed"),
        ({"finetune": {"optimizer": {"beta": 1}}}, "train.yaml: unknown option 'finetune.optimizer.beta'"),
        ({"finetune": 3}, "train.yaml: finetune: expected a mapping of options, found 3"),
        ({"seed": -1}, "train.yaml: seed: expected 0 or more, found -1"),
        ({"seed": 1.5}, "seed: expected a whole number, found 1.5"),
        ({"seed": True}, "seed: expected a whole number, found True"),
        ({"precision": "fp8"}, r"precision: expected fp32 \| bf16 \| fp16, found 'fp8'"),
        ({"save_every": 0}, "save_every: expected 1 or more"),
        ({"preview_every": -1}, "preview_every: expected 0 or more"),
        ({"finetune": {"steps": 0}}, "train.yaml: finetune.steps: expected 1 or more"),
        ({"finetune": {"steps": None}}, "train.yaml: finetune.steps: expected a whole number"),
        ({"finetune": {"rotate": 1}}, "rotate: expected true or false, found 1"),
        ({"finetune": {"unet_learning_rate": "fast"}}, "unet_learning_rate: expected a number, found 'fast'"),
        ({"finetune": {"unet_learning_rate": 0}}, "unet_learning_rate: expected more than 0"),
        ({"finetune": {"embedding_learning_rate": -1}}, "embedding_learning_rate: expected more than 0"),
        ({"finetune": {"defect_images": 0}}, "defect_images: expected 1 or more"),
        ({"finetune": {"normal_images": 0}}, "normal_images: expected 1 or more"),
        ({"finetune": {"anomaly_tokens": 0}}, "anomaly_tokens: expected 1 or more"),
        ({"finetune": {"alignment_weight": -1}}, "alignment_weight: expected 0 or more"),
        ({"finetune": {"normal_augmentations": 0}}, "normal_augmentations: expected 1 or more, or none"),
        ({"finetune": {"optimizer": {"betas": [0.9]}}}, "betas: expected a list of 2"),
        ({"finetune": {"optimizer": {"betas": 0.9}}}, "betas: expected a list"),
        ({"generation": {"guidance": -1}}, "guidance: expected 0 to 100"),
        ({"generation": {"tau": 1.0}}, "tau: expected between 0 and 1"),
    ],
)
def test_bad_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainConfig().updated(values, "train.yaml")
