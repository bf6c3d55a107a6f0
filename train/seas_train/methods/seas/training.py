"""Training a product from photographs to checkpoint: stage 1, stage 2, and what both leave behind."""

from __future__ import annotations

import hashlib
import json
import logging
from functools import partial
from pathlib import Path
from typing import Any

from seas_runtime.methods.seas import SPECK
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.diffusion.solver import SolverRules
from seas_train.methods.contract import Distillation, Estimate, Method
from seas_train.methods.seas.checkpoint import MASK_HEAD, check_checkpoint, save_checkpoint
from seas_train.methods.seas.config import ReferenceScale, TrainConfig
from seas_train.methods.seas.distill import training as distilling
from seas_train.methods.seas.distill.config import DistillConfig
from seas_train.methods.seas.finetune.memory_estimate import estimate_memory
from seas_train.methods.seas.finetune.memory_levels import MemoryLevel, memory_values
from seas_train.methods.seas.finetune.stage import FinetuneStage
from seas_train.methods.seas.mask_head.latents import Reading
from seas_train.methods.seas.mask_head.network.head import load_mask_head
from seas_train.methods.seas.mask_head.specks import measure_speck
from seas_train.methods.seas.mask_head.stage import train_mask_head
from seas_train.methods.seas.reproduce import Reproduced, reproduced, reproduced_photographs
from seas_train.methods.seas.taps import TapGeometry
from seas_train.settings import choice
from seas_train.training.loop import run_training
from seas_train.training.optimizer import uses_eight_bit
from seas_train.training.state import is_first_process

logger = logging.getLogger(__name__)
# Raised whenever the same inputs would train to another checkpoint.
VERSION = 2


def defaults(base: Base, product: Product, rules: str | None = None) -> TrainConfig:
    """The configuration for a base and a product; see `Method.defaults`."""
    config = TrainConfig.for_base(
        base, len(product.defects), product.layout, regions=product.regions is not None
    )
    return config if rules is None else reproduced(config, Reproduced(rules), product.layout)


def check_base(base: Base) -> None:
    """Check that a base has the features that the mask head reads.

    Raises:
        UserError: it has not.
    """
    TapGeometry.of(base.unet, base.vae, f"base {base.name}")


def train(
    product: Product,
    base: Base,
    out: Path,
    run_dir: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    progress: bool = True,
) -> None:
    """Fine-tune a base on a product, then train its mask head; see `train_product`."""
    first = FinetuneStage(product, base, config.finetune)
    logger.info(
        "%s", estimate_memory(base, config.finetune, config.precision, product.preprocessing.size).to_text()
    )
    finetune_losses = run_training(first, run_dir, config.loop, resume=resume, progress=progress)
    fine_tuned = first.result(stage_fingerprint(product, base, config))

    generation = {
        **config.generation.described(base.scheduler),
        SPECK: measure_speck(product, config.generation.speck_share, config.seed),
    }
    logger.info("sampler: timestep spacing %s", SolverRules.of(generation).spacing)
    reading = Reading.of(base.scheduler, generation)
    run = partial(run_training, run_dir=run_dir, config=config.loop, resume=resume, progress=progress)
    mask_head, mask_losses = train_mask_head(
        fine_tuned, first.examples, config.mask_head, config.seed, reading, run
    )

    if not is_first_process():
        return  # accelerate's other processes have the same weights; the first one writes them
    first.examples.use(fine_tuned.models.vae)
    save_checkpoint(
        out,
        fine_tuned,
        mask_head,
        first.examples.references() * _reference_scale(config, base),
        {
            **product.described(),
            "training": config.to_dict(),
            "losses": {first.name: finetune_losses, **mask_losses},
            "generation": generation,
            "fingerprint": train_fingerprint(product, base, config),
        },
        product,
    )


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


def estimate(base: Base, product: Product, config: TrainConfig) -> Estimate:
    """Estimate stage 1, which takes more memory than stage 2."""
    found = estimate_memory(base, config.finetune, config.precision, product.preprocessing.size)
    return Estimate(
        stage="fine-tuning (stage 1)",
        steps=config.finetune.steps,
        trained=found.trained,
        parts=found.parts,
        host=found.host,
        flops=found.flops,
        eight_bit=uses_eight_bit(config.finetune.optimizer),
    )


def memory(level: str | None, lora: int | None) -> dict[str, Any]:
    """Return the options that `--memory` and `--lora` stand for; UserError for a level that is none."""
    return memory_values(None if level is None else choice(MemoryLevel, level, "--memory"), lora)


METHOD = Method(
    check_base=check_base,
    photographs=reproduced_photographs,
    defaults=defaults,
    train=train,
    artifacts={MASK_HEAD: load_mask_head},
    check_checkpoint=check_checkpoint,
    stages={
        "finetune": "Stage 1: U-Net and prompt tokens",
        "mask_decoder": "Stage 2: the mask head's small decoder",
        "mask_head": "Stage 2: mask head",
    },
    later=("generation", "mask_head"),
    memory=memory,
    estimate=estimate,
    distillation=Distillation(
        check=distilling.check_teacher,
        defaults=distilling.defaults,
        blank=DistillConfig(),
        run=distilling.distill,
        estimate=distilling.estimate,
        memory=lambda level, lora: distilling.memory(memory(level, lora)),
    ),
)
