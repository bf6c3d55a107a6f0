"""From a checkpoint to its student's: the consistency stage, then the mask head on the student's features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.methods.seas import X0
from seas_train.bases.base import Base
from seas_train.checkpoint import Checkpoint
from seas_train.data import Product
from seas_train.diffusion.consistency import LCM
from seas_train.diffusion.examples import Examples
from seas_train.methods.contract import Estimate, MadePicture
from seas_train.methods.seas.checkpoint import NAME, save_checkpoint
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.distill.config import DistillConfig, as_finetune, trained_config
from seas_train.methods.seas.distill.generated import MadeLatents
from seas_train.methods.seas.distill.stage import DistillStage
from seas_train.methods.seas.finetune.memory_estimate import BASE, estimate_memory
from seas_train.methods.seas.mask_head.latents import Reading
from seas_train.methods.seas.mask_head.stage import train_mask_head
from seas_train.methods.seas.prompts import FineTuned, Prompts
from seas_train.training.loop import run_training
from seas_train.training.optimizer import uses_eight_bit
from seas_train.training.state import is_first_process

# Raised whenever the same inputs would distill to another student.
VERSION = 1


def check_teacher(checkpoint: Checkpoint, product: Product) -> None:
    """Refuse, by a UserError, a checkpoint that cannot be distilled, or photographs that did not train it."""
    what = f"checkpoint {checkpoint.path}"
    if checkpoint.method != NAME:
        raise UserError(
            f"{what}: method {checkpoint.method} has no U-Net of its own to distill; expected one of {NAME}"
        )
    if checkpoint.meta["generation"].get("sampler") == LCM:
        raise UserError(f"{what}: it is a student already; distill the checkpoint that it was made from")
    if checkpoint.meta["data_fingerprint"] != product.fingerprint:
        raise UserError(
            f"{what}: expected the photographs of its training ({checkpoint.meta['data_fingerprint'][:12]}), "
            f"found others ({product.fingerprint[:12]}); give the folder and the options of that training "
            "(--shots, --normals, --fit, --regions, --defect)"
        )


def teacher_of(checkpoint: Checkpoint) -> FineTuned:
    """Return a checkpoint's models and prompts as fine-tuning left them."""
    meta, tokens = checkpoint.meta, checkpoint.meta["defects"][0]["tokens"]
    prompts = Prompts(checkpoint.defects, len(tokens), len(meta.get("normal_tokens", [meta["normal_token"]])))
    base = meta["base"]
    models = Base(
        name=base["name"],
        path=checkpoint.path,
        fingerprint=base["fingerprint"],
        licence=base["licence"],
        geometry=checkpoint.geometry,
        tokenizer=checkpoint.tokenizer,
        text_encoder=checkpoint.text_encoder,
        vae=checkpoint.vae,
        unet=checkpoint.unet,
        scheduler=checkpoint.scheduler,
    )
    return FineTuned(models, prompts, checkpoint.fingerprint)


def defaults(checkpoint: Checkpoint, product: Product) -> DistillConfig:
    """The configuration for a checkpoint and its product."""
    return DistillConfig.of(teacher_of(checkpoint).models, product, _trained(checkpoint, product))


def _trained(checkpoint: Checkpoint, product: Product) -> TrainConfig:
    return trained_config(checkpoint.meta["training"], teacher_of(checkpoint).models, product)


def distill(
    checkpoint: Checkpoint,
    product: Product,
    out: Path,
    run_dir: Path,
    config: DistillConfig,
    *,
    generated: Sequence[MadePicture] = (),
    resume: bool = False,
    progress: bool = True,
) -> None:
    """Distill a checkpoint into `out`, whose bundles take `config.student_steps` steps without guidance.

    Args:
        checkpoint: the teacher.
        product: what it was trained on.
        out: the checkpoint folder to write.
        run_dir: where states, losses and previews go.
        config: the configuration.
        generated: whole pictures that the teacher made, to train on beside the photographs.
        resume: continue what a killed run left in `run_dir`.
        progress: show progress bars.

    Raises:
        UserError: the checkpoint or the photographs cannot be used, or a folder cannot be written.
        CheckFailed: a loss is not finite.
    """
    check_teacher(checkpoint, product)
    teacher, trained = teacher_of(checkpoint), _trained(checkpoint, product)
    taught = checkpoint.meta["generation"]
    examples = examples_of(product, checkpoint, trained)
    made = MadeLatents(generated, config.distill.generated_share) if generated else None
    first = DistillStage(
        teacher,
        examples,
        config.distill,
        guidance=float(taught["guidance"]),
        steps=config.student_steps,
        region=trained.finetune.weighted_region,
        made=made,
    )
    distilled = run_training(first, run_dir, config.loop, resume=resume, progress=progress)
    pictures = None if made is None else made.described()
    student = first.result(_fingerprint(checkpoint, config, ("distill", "seed", "precision"), pictures))

    generation = {
        **taught,
        "guidance": 1.0,
        "sampler": LCM,
        "steps": config.student_steps,
        "mask_steps": config.mask_steps,
        "decoded": X0,
    }
    reading = Reading.of(checkpoint.scheduler, generation)
    run = partial(run_training, run_dir=run_dir, config=config.loop, resume=resume, progress=progress)
    head, losses = train_mask_head(student, examples, config.mask_head, config.seed, reading, run)
    if not is_first_process():
        return  # accelerate's other processes have the same weights; the first one writes them
    every = tuple(key for key in config.to_dict() if key not in ("save_every", "preview_every"))
    save_checkpoint(
        out,
        student,
        head,
        checkpoint.references,
        {
            **product.described(),
            "training": {**checkpoint.meta["training"], "distillation": config.to_dict()},
            "losses": {
                **checkpoint.meta["losses"],
                first.name: distilled,
                **{f"{name}_student": values for name, values in losses.items()},
            },
            "generation": generation,
            "teacher": {
                "fingerprint": checkpoint.fingerprint,
                "guidance": float(taught["guidance"]),
                **({} if pictures is None else {"generated": pictures}),
            },
            "fingerprint": _fingerprint(checkpoint, config, every, pictures),
        },
        product,
    )


def examples_of(product: Product, checkpoint: Checkpoint, trained: TrainConfig) -> Examples:
    """Return the training images, in the augmentations of the checkpoint's training."""
    config = trained.finetune
    return Examples(
        product,
        checkpoint.geometry,
        rotate=config.rotate,
        flip=config.flip,
        normal_augmentations=config.normal_augmentations,
        mirrored_share=config.mirrored_share,
        paired_normals=config.paired_normals,
        half_precision=config.half_precision,
    )


def _fingerprint(
    checkpoint: Checkpoint, config: DistillConfig, keys: tuple[str, ...], generated: object
) -> str:
    """sha256 over the teacher, these parts of the configuration, and the generated pictures."""
    values = config.to_dict()
    inputs = {
        "distillation": VERSION,
        "teacher": checkpoint.fingerprint,
        "config": {key: values[key] for key in keys},
        **({} if generated is None else {"generated": generated}),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def estimate(checkpoint: Checkpoint, product: Product, config: DistillConfig) -> Estimate:
    """Estimate the consistency stage, which takes more memory than the mask head's."""
    base, stage = teacher_of(checkpoint).models, config.distill
    like = as_finetune(stage, _trained(checkpoint, product).finetune)
    found = estimate_memory(base, like, config.precision, product.preprocessing.size, alone=True)
    whole = sum(parameter.numel() for parameter in base.unet.parameters()) * 4
    parts, host = dict(found.parts), {name: size for name, size in found.host.items() if name != BASE}
    if stage.lora_rank:
        host["the teacher, to merge into"] = whole
    else:
        parts["the teacher"] = whole
    passes = 4 if stage.gradient_checkpointing else 3
    return Estimate(
        stage="distillation",
        steps=stage.steps,
        trained=found.trained,
        parts=parts,
        host=host,
        flops=found.flops * (passes + 3) / passes,  # the teacher's two halves, and the target's one
        eight_bit=uses_eight_bit(stage.optimizer),
    )


def memory(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that `--memory` and `--lora` stand for, from fine-tuning's."""
    return {("distill" if key == "finetune" else key): value for key, value in values.items()}
