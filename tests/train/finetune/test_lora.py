"""Adapters train in place of the U-Net, and are merged into the original weights."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seas_runtime.errors import UserError
from seas_runtime.installing import install
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.methods.seas.finetune.config import FinetuneConfig
from seas_train.methods.seas.finetune.memory_estimate import estimate_memory
from seas_train.methods.seas.finetune.memory_levels import LOW_RANK, MemoryLevel, memory_values
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.precision import Precision
from seas_train.training.stage import LoopConfig
from seas_train.training.state import trained_tensors

pytest.importorskip("peft", reason="peft is not installed: pip install '.[lora]'")

CONFIG = FinetuneConfig(
    steps=3,
    lora_rank=2,
    lora_learning_rate=1e-2,
    embedding_learning_rate=1e-2,
    optimizer=OptimizerConfig(gradient_accumulation=1),
)


def train(stage: FinetuneStage, folder: Path, precision: Precision = Precision.FP32) -> None:
    run_training(stage, folder, LoopConfig(save_every=3, precision=precision), progress=False)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_only_adapters_train_and_the_merged_unet_is_what_was_trained(
    tiny_base: Base, tiny_product: Product, tmp_path: Path, checkpointing: bool
) -> None:
    before = {key: value.clone() for key, value in tiny_base.unet.state_dict().items()}
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, gradient_checkpointing=checkpointing))
    names = {name for name in trained_tensors(stage.module) if name.startswith("unet.")}
    assert names
    assert all("lora_" in name for name in names)
    optimized = {id(p) for group in stage.parameter_groups() for p in group["params"]}
    assert optimized == {id(p) for p in stage.module.parameters() if p.requires_grad}
    train(stage, tmp_path)
    stage.module.recorder.remove()
    adapted = stage.module.unet
    inputs = (torch.randn(1, 4, 8, 8), torch.tensor([7]), torch.randn(1, 16, 16))
    with torch.no_grad():
        expected = adapted(*inputs).sample
    unet = stage.result("fingerprint").models.unet
    with torch.no_grad():
        found = unet(*inputs).sample
        untrained = tiny_base.unet(*inputs).sample
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert float((found - untrained).abs().max()) > 1e-3
    assert unet.state_dict().keys() == before.keys(), "nothing of peft is left"
    changed = {key for key, value in unet.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(".attn" in key and key.endswith(".weight") for key in changed)
    assert all(torch.equal(value, before[key]) for key, value in tiny_base.unet.state_dict().items())


def test_half_frozen_weights_do_not_reach_the_merged_ones(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, half_frozen=True))
    parameters = dict(stage.module.unet.named_parameters())
    assert all(p.dtype is (torch.float32 if p.requires_grad else torch.bfloat16) for p in parameters.values())
    train(stage, tmp_path, Precision.BF16)
    unet = stage.result("fingerprint").models.unet
    base = tiny_base.unet.state_dict()
    for key, value in unet.state_dict().items():
        assert value.dtype is torch.float32
        if ".attn" not in key:
            assert torch.equal(value, base[key]), key


def test_the_same_seed_gives_the_same_adapters(tiny_base: Base, tiny_product: Product) -> None:
    torch.manual_seed(1)
    one = trained_tensors(FinetuneStage(tiny_product, tiny_base, CONFIG).module)
    torch.manual_seed(2)
    other = trained_tensors(FinetuneStage(tiny_product, tiny_base, CONFIG).module)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_peft_the_error_says_what_to_install(
    tiny_base: Base, tiny_product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=re.escape(install("lora"))):
        FinetuneStage(tiny_product, tiny_base, CONFIG)


@pytest.mark.parametrize(
    "values", [{"lora_rank": -1}, {"lora_learning_rate": 0.0}, {"half_frozen": True}], ids=str
)
def test_settings_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        FinetuneConfig(**values)


def test_each_level_takes_less_than_the_one_above(tiny_base: Base) -> None:
    sizes = []
    for level in (MemoryLevel.HIGH, MemoryLevel.MEDIUM, MemoryLevel.LOW):
        values = memory_values(level)
        options = {k: v for k, v in values.get("finetune", {}).items() if k != "optimizer"}
        precision = Precision(values.get("precision", "fp32"))
        sizes.append(estimate_memory(tiny_base, FinetuneConfig(**options), precision, 64).device_total)
    assert sizes[0] > sizes[1] > sizes[2]
    usual, medium = FinetuneConfig(), memory_values(MemoryLevel.MEDIUM)["finetune"]
    batches = medium["optimizer"]["gradient_accumulation"]
    assert medium["defect_images"] * batches == usual.defect_images * usual.optimizer.gradient_accumulation
    assert medium["normal_images"] * batches == usual.normal_images * usual.optimizer.gradient_accumulation
    assert memory_values(MemoryLevel.LOW)["finetune"]["lora_rank"] == LOW_RANK
    assert memory_values(MemoryLevel.LOW, 4)["finetune"]["lora_rank"] == 4
    assert memory_values(None) == {}
    assert memory_values(None, 8) == {"finetune": {"lora_rank": 8}}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_autograd_saves_is_what_was_estimated(
    tiny_base: Base, tiny_product: Product, checkpointing: bool
) -> None:
    """Against a real forward pass on the CPU, without checkpointing; with it, against that of the parts."""
    config = FinetuneConfig(gradient_checkpointing=checkpointing)
    stage = FinetuneStage(tiny_product, tiny_base, config)
    stage.module.train()
    own = {p.untyped_storage().data_ptr() for p in stage.module.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = config.defect_images + config.normal_images
    noisy = torch.randn(batch, 4, 8, 8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stage.module(noisy, torch.arange(batch), stage._prompt_ids[:2], torch.tensor([0, 0, 1, 1]))
    real = sum(tensor.untyped_storage().nbytes() for tensor in seen.values())
    estimated = estimate_memory(tiny_base, config, image_size=64).parts["activations"]
    if checkpointing:
        assert (
            real
            < estimated
            < estimate_memory(tiny_base, FinetuneConfig(), image_size=64).parts["activations"]
        )
    else:
        assert estimated == pytest.approx(real, rel=0.15)
