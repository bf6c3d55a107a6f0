from __future__ import annotations

from dataclasses import replace

from seas_train.bases import Base
from seas_train.finetune.config import FinetuneConfig
from seas_train.finetune.memory import estimate_memory
from seas_train.training.loop import Precision
from seas_train.training.optimizer import OptimizerConfig


def test_parts_follow_from_the_parameters(tiny_base: Base) -> None:
    config = FinetuneConfig(optimizer=OptimizerConfig(ema=0.9))
    parts = estimate_memory(tiny_base, config).parts
    trained = sum(parameter.numel() for parameter in tiny_base.unet.parameters())
    assert parts["gradients"] == parts["average"] == 4 * trained
    assert parts["optimizer"] == 8 * trained
    found = estimate_memory(tiny_base, config)
    assert found.device_total == sum(parts.values())
    assert found.total == found.device_total + found.host_total
    assert found.host["the base, on the host"] > 4 * trained
    assert "average" not in estimate_memory(tiny_base, FinetuneConfig()).parts


def test_activations_follow_from_batch_precision_size_and_checkpointing(tiny_base: Base) -> None:
    def activations(config: FinetuneConfig, precision: Precision = Precision.FP32, size: int = 64) -> int:
        return estimate_memory(tiny_base, config, precision, size).parts["activations"]

    usual = activations(FinetuneConfig())
    double = activations(FinetuneConfig(defect_images=4, normal_images=4))
    assert 1.9 * usual < double <= 2 * usual
    assert activations(FinetuneConfig(), Precision.BF16) == usual // 2
    assert 3 * usual < activations(FinetuneConfig(), size=128) < 4.1 * usual
    assert activations(replace(FinetuneConfig(), gradient_checkpointing=True)) < 0.7 * usual


def test_the_text_names_every_part(tiny_base: Base) -> None:
    text = estimate_memory(tiny_base, FinetuneConfig()).to_text()
    for part in ("about", "weights", "gradients", "optimizer", "activations", "MiB"):
        assert part in text
