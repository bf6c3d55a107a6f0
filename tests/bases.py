"""A tiny base, random but whole: what the shipped `micro` is in form, at a cost that tests can pay."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

IMAGE_SIZE = 64
LATENT_SIZE = 8
CONTEXT_LENGTH = 16

_MERGES = ("o b", "ob j", "obj e", "obje c", "objec t</w>", "w i", "wi t", "wit h</w>", "d e", "de f")


def write_tiny_base(
    path: Path,
    *,
    seed: int = 0,
    prediction_type: str = "epsilon",
    in_channels: int = 4,
    unet: dict[str, Any] | None = None,
) -> Path:
    """Write a Stable Diffusion 1.x model of about 0.3 million random weights in diffusers' folder format.

    64-pixel images, latents 4x8x8, a prompt of 16 tokens. "object" is one token, "defect" two. `unet` changes
    the U-Net's configuration.
    """
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options: dict[str, Any] = {
            "sample_size": LATENT_SIZE,
            "in_channels": in_channels,
            "block_out_channels": (16, 16, 32, 32),
            "layers_per_block": 1,
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
            "norm_num_groups": 8,
        }
        denoiser = UNet2DConditionModel(**{**options, **(unet or {})})
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=IMAGE_SIZE,
        )
        vocabulary = _write_tokenizer(path / "tokenizer")
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=vocabulary,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=CONTEXT_LENGTH,
                projection_dim=16,
                bos_token_id=vocabulary - 2,
                eos_token_id=vocabulary - 1,
                pad_token_id=vocabulary - 1,
            )
        )
    denoiser.save_pretrained(path / "unet")
    vae.save_pretrained(path / "vae")
    text_encoder.save_pretrained(path / "text_encoder")
    DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,
    ).save_pretrained(path / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.32.0",
        "scheduler": ["diffusers", "DDPMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path


def _write_tokenizer(path: Path) -> int:
    """Write a CLIP tokenizer of single characters and a few merges; returns its number of tokens."""
    path.mkdir(parents=True, exist_ok=True)
    characters = string.ascii_lowercase + string.digits + "<>_.,-!"
    tokens = [*characters, *(f"{character}</w>" for character in characters)]
    tokens += [merge.replace(" ", "") for merge in _MERGES]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (path / "merges.txt").write_text("\n".join(["#version: 0.2", *_MERGES]) + "\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT_LENGTH,
        "do_lower_case": True,
        **special,
    }
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    (path / "special_tokens_map.json").write_text(json.dumps(special))
    return len(tokens)
