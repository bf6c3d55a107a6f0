"""A checkpoint with the same bytes under any version of PyTorch, small enough that its bundle is kept."""

from __future__ import annotations

import dataclasses
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from seas_train.bases.base import load_base
from seas_train.methods.seas.checkpoint import save_checkpoint
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.prompts import FineTuned, Prompts, extend, write_back
from seas_train.methods.seas.taps import TapGeometry
from tests.bases import IMAGE_SIZE, LATENT_SIZE, write_tiny_base

DEFECTS = ("chip", "scratch")
STEPS = 6
BASE = "cece036c07627fdd349b22da7782840952bc9e0f8538af807bcd9669cdfe17a0"
"""The base's fingerprint when the bundle was kept: its random weights, all replaced here, were others."""
UNET = {
    "block_out_channels": (8, 8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "norm_num_groups": 4,
}


def write_kept_checkpoint(folder: Path) -> Path:
    """Write a checkpoint `folder / "checkpoint"` of two defects, with five references."""
    write_tiny_base(folder / "base", unet=UNET)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=IMAGE_SIZE,
    )
    vae.save_pretrained(folder / "base" / "vae")
    base = dataclasses.replace(load_base(folder / "base"), fingerprint=BASE)
    prompts = Prompts(DEFECTS, anomaly_tokens=2)
    write_back(base.text_encoder, extend(base.tokenizer, base.text_encoder, prompts))
    geometry = base.geometry
    found = TapGeometry.of(base.unet, base.vae)
    taps = (found.coarse, found.fine, found.vae)
    head = MaskHead(MaskHeadArchitecture(*taps, coarse_width=4, fine_width=4, heads=2, groups=2, depth=1))
    for name, module in {"text": base.text_encoder, "vae": base.vae, "unet": base.unet, "head": head}.items():
        fill(name, module)
    head.out_layer[2].weight.data.mul_(16)  # a head that is sure of itself, on both sides
    base.vae.decoder.conv_out.weight.data.mul_(4)
    references = torch.from_numpy(drawn("references", 5, geometry.latent_channels, LATENT_SIZE, LATENT_SIZE))
    description = {
        "product": "widget",
        "preprocessing": {"size": IMAGE_SIZE, "fit": "crop"},
        "layout": "mvtec",
        "data_fingerprint": "0" * 64,
        "normals": 5,
        "shots": dict.fromkeys(DEFECTS, 1),
        "training": {"seed": 0},
        "losses": {},
        "generation": {"guidance": 3.0, "tau": 0.75},
        "fingerprint": "1" * 64,
    }
    tuned = FineTuned(base, prompts, "stage 1")
    save_checkpoint(folder / "checkpoint", tuned, head.eval(), references, description)
    return folder / "checkpoint"


def fill(name: str, module: nn.Module) -> None:
    """Set every floating-point tensor of a module from its name and shape alone."""
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = drawn(f"{name}.{key}", *tensor.shape)
            if tensor.ndim > 1:
                values = values / np.float32(2.0 ** round(math.log2(tensor[0].numel()) / 2))
            elif "var" in key:
                values = 0.5 + abs(values)
            else:
                values = values / 8 + ("norm" in key and key.endswith("weight"))
            tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def drawn(name: str, *shape: int) -> np.ndarray:
    """Return roughly normal numbers that follow from a name: multiples of 1/8, so that they pack small."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return (rng.integers(-4, 5, (3, *shape)).sum(axis=0) / 8 * np.float32(1.25)).astype(np.float32)
