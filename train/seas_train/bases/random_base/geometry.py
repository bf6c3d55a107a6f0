"""The published configurations of Stable Diffusion 1.x, by name. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class RandomGeometry(str, Enum):
    """A model whose geometry a random base takes."""

    SD14 = "sd14"


@dataclass(frozen=True)
class BaseShape:
    """The shapes of a base's tensors, as diffusers' and transformers' own configuration keys."""

    unet: Mapping[str, Any]
    """Of `UNet2DConditionModel`."""
    vae: Mapping[str, Any]
    """Of `AutoencoderKL`, with f8's four levels."""
    text_encoder: Mapping[str, Any]
    """Of `CLIPTextConfig`; its `vocab_size` is a least number of rows."""

    @property
    def context_length(self) -> int:
        """How many tokens a prompt is padded to."""
        return int(self.text_encoder["max_position_embeddings"])


_SD14 = BaseShape(  # the config.json files of CompVis/stable-diffusion-v1-4
    unet={
        "sample_size": 64,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,  # the number of heads, in spite of the key's name
        "norm_num_groups": 32,
    },
    vae={
        "sample_size": 512,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
    },
    text_encoder={
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
    },
)

SHAPES: Mapping[RandomGeometry, BaseShape] = {RandomGeometry.SD14: _SD14}
