"""Training a product from photographs to checkpoint: stage 1, stage 2, and what both leave behind."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.methods.seas.checkpoint import read_description, save_checkpoint
from seas_train.methods.seas.config import ReferenceScale, TrainConfig
from seas_train.methods.seas.finetune.memory import estimate_memory
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.methods.seas.mask_head.stage import MaskHeadStage
from seas_train.training.loop import run_training

_LOGGER = logging.getLogger(__name__)
# Raised whenever the same inputs would train to another checkpoint.
VERSION = 2


def train_product(
    product: Product,
    base: Base,
    out: Path,
    run_dir: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Fine-tune a base on a product and train its mask head.

    Args:
        product: what to train on.
        base: what to start from.
        out: the checkpoint folder to write.
        run_dir: where states, losses and previews of both stages go.
        config: both stages' configuration.
        resume: continue what a killed run left in `run_dir`.
        progress: show progress bars.

    Returns:
        `out`.

    Raises:
        UserError: the base or the run folder does not fit the product or the configuration, or a folder
        cannot be written.
        CheckFailed: a loss is not finite.
    """
    first = FinetuneStage(product, base, config.finetune)
    _LOGGER.info(
        "%s", estimate_memory(base, config.finetune, config.precision, product.preprocessing.size).to_text()
    )
    finetune_losses = run_training(first, run_dir, config.loop, resume=resume, progress=progress)
    fine_tuned = first.result(stage_fingerprint(product, base, config))

    second = MaskHeadStage(fine_tuned, first.examples, config.mask_head, config.seed)
    mask_losses = run_training(second, run_dir, config.loop, resume=resume, progress=progress)
    mask_head = second.finish()

    if int(os.environ.get("RANK", "0")) > 0:
        return out  # accelerate's other processes have the same weights; the first one writes them
    first.examples.use(fine_tuned.models.vae)
    save_checkpoint(
        out,
        fine_tuned,
        mask_head,
        first.examples.references() * _reference_scale(config, base),
        {
            "product": product.name,
            "preprocessing": product.preprocessing.to_dict(),
            "layout": product.layout.value,
            "data_fingerprint": product.fingerprint,
            "normals": len(product.normals),
            "shots": {defect.name: len(defect.train) for defect in product.defects},
            "training": config.to_dict(),
            "losses": {first.name: finetune_losses, second.name: mask_losses},
            "generation": config.generation.to_dict(),
            "fingerprint": train_fingerprint(product, base, config),
        },
    )
    return out


def _reference_scale(config: TrainConfig, base: Base) -> float:
    scaled = config.generation.references is ReferenceScale.SCALED
    return base.geometry.scaling_factor if scaled else 1.0


def train_fingerprint(product: Product, base: Base, config: TrainConfig) -> str:
    """sha256 over everything that a checkpoint follows from: two runs with the same one give the same
    weights."""
    values = {
        key: value for key, value in config.to_dict().items() if key not in ("save_every", "preview_every")
    }
    return _fingerprint(product, base, values)


def stage_fingerprint(product: Product, base: Base, config: TrainConfig) -> str:
    """sha256 over everything that stage 1 follows from."""
    values = {key: config.to_dict()[key] for key in ("finetune", "seed", "precision")}
    return _fingerprint(product, base, values)


def _fingerprint(product: Product, base: Base, values: dict[str, Any]) -> str:
    inputs = {
        "version": VERSION,
        "product": product.name,
        "data": product.fingerprint,
        "base": base.fingerprint,
        "config": values,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def is_current(checkpoint: Path, product: Product, base: Base, config: TrainConfig) -> bool:
    """Whether a checkpoint folder is what `train_product` would make of these."""
    try:
        return bool(read_description(checkpoint)["fingerprint"] == train_fingerprint(product, base, config))
    except UserError:
        return False
