"""A checkpoint without training: a base with new tokens, a random mask head and random references.

It exports and generates as a trained one does, at the same cost in time and memory; its pictures and masks
say nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from seas_runtime.errors import UserError
from seas_runtime.files import require_space
from seas_runtime.outputs.checking import check_out
from seas_train.bases.base import Base, load_base, unet_reduction
from seas_train.checkpoint import CHECKPOINT
from seas_train.methods.seas.checkpoint import save_checkpoint
from seas_train.methods.seas.config import TrainConfig
from seas_train.methods.seas.finetune.stage import prompts_of
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.mask_head.network.normalization import batch_norms
from seas_train.methods.seas.prompts import FineTuned, extend, write_back
from seas_train.methods.seas.taps import TapGeometry

PRODUCT = "untrained"
DEFECTS = ("broken_large", "broken_small", "contamination")
"""The defects of MVTec AD's bottle, a product like any other."""
REFERENCES = 4
_VAE_GAIN = 0.2  # the head multiplies by features of the VAE three times, which training keeps small


@dataclass(frozen=True)
class UntrainedRequest:
    """Options of `write_untrained`."""

    base: str
    """Name or folder."""
    out: Path
    """The checkpoint folder to make."""
    size: int | None = None
    """Of the images in pixels; None for the base's own."""
    seed: int = 0
    """Of the mask head and the references."""
    force: bool = False
    """Replace a checkpoint that is there."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of training, that decide what the models are: the mask head's widths and its decoder."""


def write_untrained(request: UntrainedRequest) -> Base:
    """Write the checkpoint, whole or not at all; returns the base that it was made from.

    Raises:
        UserError: the base cannot be read, the size does not fit it, something is in the way, or the disk has
            no room.
    """
    check_out(
        request.out, CHECKPOINT, "DIR", force=request.force, inputs={"BASE": Path(request.base).expanduser()}
    )
    base = load_base(request.base)
    if request.size is not None:
        base = replace(base, geometry=base.geometry.at(_checked_size(base, request.size)))
    modules = (base.unet, base.vae, base.text_encoder)
    require_space(
        request.out, sum(p.nbytes for module in modules for p in module.parameters()), "this checkpoint"
    )
    config = TrainConfig.for_base(base, len(DEFECTS)).updated(request.settings)
    prompts = prompts_of(DEFECTS, config.finetune)
    write_back(base.text_encoder, extend(base.tokenizer, base.text_encoder, prompts))
    geometry = base.geometry
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        head = MaskHead(
            config.mask_head.architecture(
                TapGeometry.of(base.unet, base.vae, f"base {base.name}"), geometry.latent_channels
            )
        )
        for module in (head.MRM1, head.MRM2, head.MRM3):
            batch_norms(module.conv1)[0].gain.data.mul_(_VAE_GAIN)
        size = geometry.latent_size
        references = torch.randn(REFERENCES, geometry.latent_channels, size, size) / geometry.scaling_factor
    identity: dict[str, Any] = {
        "base": base.fingerprint,
        "size": geometry.image_size,
        "seed": request.seed,
        **({"settings": request.settings} if request.settings else {}),
    }
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    description = {
        "product": PRODUCT,
        "preprocessing": {"size": geometry.image_size, "fit": "crop"},
        "layout": "mvtec",
        "data_fingerprint": hashlib.sha256(b"").hexdigest(),
        "normals": 0,
        "shots": dict.fromkeys(DEFECTS, 0),
        "training": {"steps": 0, "seed": request.seed},
        "losses": {},
        "generation": config.generation.described(base.scheduler),
        "fingerprint": fingerprint,
    }
    fine_tuned = FineTuned(base, prompts, fingerprint)
    save_checkpoint(request.out, fine_tuned, head.eval(), references, description)
    return base


def _checked_size(base: Base, size: int) -> int:
    multiple = base.geometry.latent_factor * unet_reduction(base.unet)
    if size < multiple or size % multiple:
        raise UserError(f"--size: expected a multiple of {multiple} for base {base.name}, found {size}")
    return size
