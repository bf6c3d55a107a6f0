from __future__ import annotations

from dataclasses import replace

from seas_train.bases.base import Base
from seas_train.methods.seas.finetune.config import FinetuneConfig
from seas_train.methods.seas.finetune.memory_estimate import estimate_memory
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.precision import Precision


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


def test_half_precision_copies_the_text_encoder_that_gradients_go_through(tiny_base: Base) -> None:
    encoder = tiny_base.text_encoder
    table = encoder.get_input_embeddings().weight.numel()
    weights = sum(parameter.numel() for parameter in encoder.parameters()) - table
    trained = sum(parameter.numel() for parameter in tiny_base.unet.parameters())
    parts = estimate_memory(tiny_base, FinetuneConfig(), Precision.BF16).parts
    assert parts["half copies"] == 2 * (trained + weights)


def test_a_longer_context_keeps_more(tiny_base: Base) -> None:
    def activations(length: int) -> int:
        geometry = replace(tiny_base.geometry, context_length=length)
        return estimate_memory(replace(tiny_base, geometry=geometry), FinetuneConfig()).parts["activations"]

    shorter = tiny_base.geometry.context_length // 2
    assert activations(tiny_base.geometry.context_length) > activations(shorter)


def test_the_largest_layers_gradients_are_a_part_of_its_activations(tiny_base: Base) -> None:
    usual = estimate_memory(tiny_base, FinetuneConfig()).parts
    assert 0 < usual["their gradients"] < usual["activations"]
    larger = estimate_memory(tiny_base, FinetuneConfig(defect_images=4, normal_images=4)).parts
    assert larger["their gradients"] == 2 * usual["their gradients"]
