"""SeaS's part of a checkpoint: the prompts' tokens, and the mask head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from seas_runtime.errors import UserError
from seas_train import checkpoint as generic
from seas_train.checkpoint import DESCRIPTION_FILE, Checkpoint, check_keys
from seas_train.data import Product
from seas_train.methods.seas.mask_head.network.head import MaskHead, save_mask_head
from seas_train.methods.seas.prompts import FineTuned
from seas_train.methods.seas.taps import TapGeometry
from seas_train.placement.writing import write_placement

NAME = "seas"
MASK_HEAD = "mask_head"


def save_checkpoint(
    path: Path,
    fine_tuned: FineTuned,
    mask_head: MaskHead,
    references: Tensor,
    description: Mapping[str, Any],
    product: Product | None = None,
) -> None:
    """Write the checkpoint of both stages' results, whole or not at all; an older one is replaced.

    Args:
        path: the folder to make.
        fine_tuned: the models after stage 1.
        mask_head: the mask head after stage 2.
        references: [n, C, h, w], unscaled latents of the training normals.
        description: the contents of `seas.json` beside the method, prompts and tokens, base and geometry.
        product: whose photographs placed pairs are drawn from; None where there are none.

    Raises:
        UserError: the folder cannot be written.
    """
    prompts = fine_tuned.prompts
    defects = [{"name": name, "tokens": list(prompts.defect_tokens(name))} for name in prompts.defects]
    own: dict[str, Any] = {
        "method": NAME,
        "defects": defects,
        "normal_token": prompts.normal_token,
        "prompts": prompts.texts,
    }
    if len(prompts.product_tokens) > 1:
        own["normal_tokens"] = list(prompts.product_tokens)
    artifacts = {MASK_HEAD: lambda folder: save_mask_head(mask_head, folder)}
    placement = None if product is None else partial(write_placement, product=product)
    generic.save_checkpoint(path, fine_tuned.models, references, artifacts, own, description, placement)


def check_checkpoint(checkpoint: Checkpoint) -> None:
    """Check that tokens, tokenizer, mask head and models fit together.

    Raises:
        UserError: they do not; says which.
    """
    what, meta = f"checkpoint {checkpoint.path}", checkpoint.meta
    file = checkpoint.path / DESCRIPTION_FILE
    check_keys(meta, {"normal_token": str}, file)
    if any(not isinstance(defect.get("tokens"), list) for defect in meta["defects"]):
        raise UserError(f"{file}: defects: expected each to list its tokens; train again")
    taps = TapGeometry.of(checkpoint.unet, checkpoint.vae, what)
    read = checkpoint.artifacts[MASK_HEAD].architecture
    if read.latent_channels is not None:  # its own decoder's features fit; its latents must
        taps = replace(taps, vae=read.vae_tap_channels)
    found = TapGeometry(read.tap_coarse_channels, read.tap_fine_channels, read.vae_tap_channels)
    if taps != found or read.latent_channels not in (None, checkpoint.geometry.latent_channels):
        raise UserError(
            f"{what}: the mask head reads other features than this U-Net and VAE give: expected {taps}"
        )
    vocabulary = checkpoint.tokenizer.get_vocab()
    product = meta.get("normal_tokens", [meta["normal_token"]])
    if not isinstance(product, list) or not all(isinstance(token, str) for token in product):
        raise UserError(f"{file}: normal_tokens: expected a list of tokens, found {product}; train again")
    tokens = [*product, *(token for defect in meta["defects"] for token in defect["tokens"])]
    unknown = [token for token in tokens if token not in vocabulary]
    if unknown:
        raise UserError(
            f"{what}: its tokenizer does not know {', '.join(unknown)}; expected it to be the fine-tuned one"
        )
