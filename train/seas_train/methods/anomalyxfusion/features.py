"""Frozen features: of sentences by the base's text encoder, of defects by CLIP's image tower."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_train.diffusion.prompt_encoding import tokenize

_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's, of pictures 0 to 1."""


def sentence_features(tokenizer: Any, text_encoder: Any, sentences: Sequence[str], length: int) -> Tensor:
    """Return features [n, D] of sentences, L2-normalised: the last state at the token of the end.

    Stable Diffusion's text encoder has no projection behind that. A sentence that is too long is a UserError.
    """
    ids = tokenize(tokenizer, sentences, length)
    with torch.no_grad():
        states = text_encoder(ids)[0]
    ends = (ids == tokenizer.eos_token_id).int().argmax(dim=1)
    return functional.normalize(states[torch.arange(len(ids)), ends].float(), dim=-1)


def texture_features(
    folder: Path, images: Sequence[NDArray[np.uint8]], masks: Sequence[Tensor], width: int
) -> Tensor:
    """Return the mean CLIP feature [D] of pictures [S, S, 3] of which all but the mask [S, S] is black.

    Raises:
        UserError: the folder holds no such encoder, or its features have another width than the base's.
    """
    from transformers import CLIPVisionModelWithProjection

    _encoder_files(folder)
    try:
        model = CLIPVisionModelWithProjection.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        ).eval()
    except (OSError, ValueError) as error:
        raise UserError(f"--image-encoder {folder}: expected CLIP's image tower, found: {error}") from error
    if model.config.projection_dim != width:
        raise UserError(
            f"--image-encoder {folder}: expected features as wide as the base's contexts, {width}, found "
            f"{model.config.projection_dim}; take the CLIP that the base was trained with"
        )
    side = model.config.image_size
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    made = []
    for image, mask in zip(images, masks, strict=True):
        pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255 * mask.float()
        seen = functional.interpolate(pixels[None], size=(side, side), mode="bicubic", antialias=True)
        with torch.no_grad():
            made.append(model((seen[0].clamp(0, 1) - mean)[None] / deviation).image_embeds[0])
    return torch.stack(made).mean(dim=0)


def encoder_digest(folder: Path) -> str:
    """Return a digest of an image encoder's files; UserError where they are missing."""
    digests = [f"{file.name} {sha256_file(file)}" for file in _encoder_files(folder)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _encoder_files(folder: Path) -> list[Path]:
    """Return its configuration and weights, which are never a pickle."""
    config = folder / "config.json"
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not config.is_file() or not weights:
        missing = "*.safetensors" if config.is_file() else "config.json"
        raise UserError(
            f"--image-encoder {folder}: expected CLIP's image tower in transformers' format, found no "
            f"{missing}; give a local copy of openai/clip-vit-large-patch14"
        )
    return [config, *weights]
