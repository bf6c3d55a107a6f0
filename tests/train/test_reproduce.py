"""The paper's and the authors' rules: each is set, and each changes what training makes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seas_train import load_checkpoint, train_product
from seas_train.bases.base import Base
from seas_train.data import Layout, Product
from seas_train.diffusion.prompt_encoding import encode_prompts
from seas_train.methods.seas.config import ReferenceScale, TrainConfig
from seas_train.methods.seas.finetune.config import AttentionMaps, FinetuneConfig, TrainedTokens
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.methods.seas.reproduce import Reproduced, reproduced
from seas_train.training.loop import run_training
from seas_train.training.stage import LoopConfig

CONFIG = FinetuneConfig(steps=2, unet_learning_rate=1e-3, embedding_learning_rate=1e-2)


def test_the_authors_rules(tiny_base: Base) -> None:
    config = reproduced(TrainConfig.for_base(tiny_base, 2), Reproduced.AUTHORS, Layout.MVTEC)
    assert config.finetune.attention is AttentionMaps.AUTHORS
    assert config.finetune.trained_tokens is TrainedTokens.ALL
    assert config.generation.references is ReferenceScale.UNSCALED
    assert config.mask_head.statistics_batches == 0


def test_the_papers_rules(tiny_base: Base) -> None:
    config = reproduced(TrainConfig.for_base(tiny_base, 2), Reproduced.PAPER, Layout.MVTEC)
    assert config.finetune.attention is AttentionMaps.PAPER
    assert config.finetune.trained_tokens is TrainedTokens.NEW
    assert config.generation.references is ReferenceScale.SCALED


@pytest.mark.parametrize("whose", Reproduced)
def test_both_leave_our_shortcuts_and_keep_the_bases_sizes(tiny_base: Base, whose: Reproduced) -> None:
    ours = TrainConfig.for_base(tiny_base, 2, Layout.VISA)
    config = reproduced(ours, whose, Layout.VISA)
    assert (config.mask_head.max_timestep, config.mask_head.calibrate_to) == (None, None)
    assert (config.finetune.normal_augmentations, config.finetune.noisy_share) == (None, 0)
    assert (config.generation.guidance, config.generation.tau) == (2.0, 0.2)
    assert reproduced(ours, whose, Layout.MVTEC).generation.guidance == 8.0
    kept = ("steps", "unet_learning_rate", "embedding_learning_rate", "optimizer", "rotate", "flip")
    assert all(getattr(config.finetune, name) == getattr(ours.finetune, name) for name in kept)


def trained_embedding(base: Base, product: Product, folder: Path, config: FinetuneConfig) -> torch.Tensor:
    stage = FinetuneStage(product, base, config)
    run_training(stage, folder, LoopConfig(save_every=5), resume=False, progress=False)
    contexts = stage.module.context(stage._prompt_ids)
    models = stage.result("fingerprint").models
    texts = list(stage.prompts.texts.values())
    assert torch.equal(encode_prompts(models.tokenizer, models.text_encoder, texts, 16), contexts)
    weight: torch.Tensor = models.text_encoder.get_input_embeddings().weight
    return weight


def test_all_tokens_are_trained_where_the_authors_are_followed(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    before = tiny_base.text_encoder.get_input_embeddings().weight
    rows = len(tiny_base.tokenizer)
    new = trained_embedding(tiny_base, tiny_product, tmp_path / "new", CONFIG)
    every = trained_embedding(
        tiny_base, tiny_product, tmp_path / "all", replace(CONFIG, trained_tokens=TrainedTokens.ALL)
    )
    assert new.shape == every.shape
    assert torch.equal(new[:rows], before[:rows])
    changed = (every[:rows] != before[:rows]).any(dim=1)
    assert bool(changed.all())  # the words of the prompt by their gradients, the others by weight decay
    word = tiny_base.tokenizer.convert_tokens_to_ids("with</w>")
    other = tiny_base.tokenizer.convert_tokens_to_ids("z")
    moved = (every[:rows] - before[:rows]).abs().amax(dim=1)
    assert float(moved[word]) > 10 * float(moved[other])
    assert not torch.equal(new[rows:], every[rows:])


def test_the_authors_maps_train_another_unet(tiny_base: Base, tiny_product: Product, tmp_path: Path) -> None:
    unets = []
    for maps in AttentionMaps:
        stage = FinetuneStage(tiny_product, tiny_base, replace(CONFIG, attention=maps))
        run_training(stage, tmp_path / maps.value, LoopConfig(save_every=5), resume=False, progress=False)
        unets.append(stage.result("fingerprint").models.unet.state_dict())
    assert any(not torch.equal(unets[0][name], unets[1][name]) for name in unets[0])


def test_references_are_scaled_where_the_paper_is_followed(
    tiny_base: Base, tiny_product: Product, tmp_path: Path
) -> None:
    made = {}
    for scale in ReferenceScale:
        config = TrainConfig.for_base(tiny_base, 2).updated(
            {
                "finetune": {"steps": 1, "half_precision": False},
                "mask_head": {
                    "steps": 1,
                    "statistics_batches": 1,
                    "calibrate_to": None,
                    "half_precision": False,
                },
                "generation": {"references": scale.value},
            }
        )
        folder = tmp_path / scale.value
        train_product(
            tiny_product, tiny_base, folder, tmp_path / f"{scale.value}-run", config, progress=False
        )
        made[scale] = load_checkpoint(folder).references
    unscaled = made[ReferenceScale.UNSCALED]
    assert torch.allclose(made[ReferenceScale.SCALED], unscaled * tiny_base.geometry.scaling_factor)
    assert tiny_base.geometry.scaling_factor != 1


def test_the_table_names_every_rule_that_reproduce_sets() -> None:
    """docs/fidelity.md is what a person reads; a rule that it lacks would be a secret."""
    from seas_train.methods.seas.reproduce import _BOTH, _RULES

    told = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    keys = {
        f"{group}.{name}" for rules in (_BOTH, *_RULES.values()) for group in rules for name in rules[group]
    }
    assert keys <= set(re.findall(r"`([a-z_]+\.[a-z_.]+)`", told))
