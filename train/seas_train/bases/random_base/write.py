"""Writes a random base in diffusers' folder format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from seas_runtime.files import require_space, write_json
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory
from seas_train.bases.model_folders import MODEL_FILES, folder_fingerprint, model_index
from seas_train.bases.random_base.geometry import BaseShape
from seas_train.bases.random_base.vocabulary import END, START, write_tokenizer
from seas_train.bases.random_base.weights import size_of, text_maker, unet_maker, vae_maker, write_weights
from seas_train.optional_packages import hide_broken_packages

_DIFFUSERS_WEIGHTS, _TRANSFORMERS_WEIGHTS = "diffusion_pytorch_model.safetensors", "model.safetensors"
_CARD = """---
license: apache-2.0
---

# Random weights

Made by `seas-export base random`. It has a Stable Diffusion 1.x model's geometry and none of its weights: it
shows what such a model costs on a machine, and nothing of what one can draw.
"""


def _listed(folder: Path) -> set[str] | None:
    """A random base's files: known by its card, for a real base has the same names."""
    card = folder / "README.md"
    if not card.is_file() or _CARD_SAYS not in card.read_text(encoding="utf-8", errors="replace"):
        return None
    return BASE.matching(folder)


_CARD_SAYS = "Made by `seas-export base random`."
BASE = Kind(
    "a random base", "model_index.json", ("model_index.json", "README.md", *MODEL_FILES), listed=_listed
)


def write_random_base(
    path: Path, shape: BaseShape, *, seed: int = 0, vocabulary: Path | None = None, force: bool = False
) -> str:
    """Write a base of random weights, whole or not at all; returns its fingerprint.

    Args:
        path: the folder to make.
        shape: its geometry.
        seed: the same seed gives the same weights.
        vocabulary: CLIP's vocabulary file; None for the small one of `micro`.
        force: replace a base that is there.

    Raises:
        UserError: something is in the way, the disk has no room, or the vocabulary cannot be read.
    """
    check_out(path, BASE, "DIR", force=force, inputs={"--vocabulary": vocabulary})
    unet, vae = _meta_unet(shape), _meta_vae(shape)
    needed = size_of(unet) + size_of(vae) + _text_bytes(shape)
    require_space(path, needed, "this base")
    with replace_directory(path, BASE) as folder:
        entries = write_tokenizer(folder / "tokenizer", shape.context_length, vocabulary)
        text_encoder = _meta_text_encoder(shape, entries)
        unet.save_config(folder / "unet")
        vae.save_config(folder / "vae")
        (folder / "text_encoder").mkdir()
        write_json(folder / "text_encoder" / "config.json", _text_config(text_encoder))
        _scheduler().save_pretrained(folder / "scheduler")
        write_weights(folder / "unet" / _DIFFUSERS_WEIGHTS, unet, unet_maker(seed, unet))
        write_weights(folder / "vae" / _DIFFUSERS_WEIGHTS, vae, vae_maker(seed, vae))
        write_weights(
            folder / "text_encoder" / _TRANSFORMERS_WEIGHTS,
            text_encoder,
            text_maker(seed),
            prefix=_prefix(text_encoder),
        )
        write_json(folder / "model_index.json", model_index("PNDMScheduler"))
        (folder / "README.md").write_text(_CARD, encoding="utf-8")
    return folder_fingerprint(path)


def _meta_unet(shape: BaseShape) -> Any:
    hide_broken_packages()
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(**shape.unet)


def _meta_vae(shape: BaseShape) -> Any:
    from diffusers import AutoencoderKL

    levels = len(shape.vae["block_out_channels"])
    with torch.device("meta"):
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            **shape.vae,
        )


def _meta_text_encoder(shape: BaseShape, entries: dict[str, int]) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    values = {**shape.text_encoder, "vocab_size": max(len(entries), shape.text_encoder["vocab_size"])}
    config = CLIPTextConfig(
        **values, bos_token_id=entries[START], eos_token_id=entries[END], pad_token_id=entries[END]
    )
    with torch.device("meta"):
        return CLIPTextModel(config)


def _text_bytes(shape: BaseShape) -> int:
    """Bytes of the text encoder, of at least so many tokens."""
    return size_of(_meta_text_encoder(shape, {START: 0, END: 1}))


def _prefix(text_encoder: Any) -> str:
    """Published models call every tensor `text_model....`; transformers 5 does not, but reads both."""
    return "" if any(name.startswith("text_model.") for name in text_encoder.state_dict()) else "text_model."


def _text_config(text_encoder: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(text_encoder.config.to_json_string())
    return {**values, "architectures": ["CLIPTextModel"], "dtype": "float32"}


def _scheduler() -> Any:
    from seas_train.bases.micro.assemble import new_scheduler

    return new_scheduler()
