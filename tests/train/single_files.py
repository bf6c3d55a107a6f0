"""Single files in the original code's format, made from a tiny base, and the configurations beside them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def original_names(base: Path) -> dict[str, Tensor]:
    """The tensors of a diffusers folder under the original code's names."""
    from safetensors.torch import load_file

    unet = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(base / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(base / "text_encoder" / "model.safetensors")
    named = {f"model.diffusion_model.{_unet_name(name)}": value for name, value in unet.items()}
    for name, value in vae.items():
        original = _vae_name(name)
        attention = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", original) is not None
        named[f"first_stage_model.{original}"] = value[:, :, None, None] if attention else value
    for name, value in text.items():
        named[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    return named


_LAYERS = 1
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


def _unet_name(name: str) -> str:
    """A U-Net's tensor; blocks of one layer, four levels."""
    outside = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for ours, theirs in outside.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    part = re.match(
        r"(down_blocks|up_blocks|mid_block)\.?(\d*)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)",
        name,
    )
    assert part is not None, name
    where, block, kind, index, rest = part[1], int(part[2] or 0), part[3], int(part[4]), part[5]
    if kind == "resnets":
        head, _, tail = rest.partition(".")
        rest = f"{_RESNET[head]}.{tail}"
    if where == "mid_block":
        return f"middle_block.{1 if kind == 'attentions' else 2 * index}.{rest}"
    if where == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (_LAYERS + 1)}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{1 + block * (_LAYERS + 1) + index}.{int(kind == 'attentions')}.{rest}"
    if kind == "upsamplers":  # after the block's last layer; after its attention, where it has one
        return f"output_blocks.{block * (_LAYERS + 1) + _LAYERS}.{1 if block == 0 else 2}.{rest}"
    return f"output_blocks.{block * (_LAYERS + 1) + index}.{int(kind == 'attentions')}.{rest}"


def _vae_name(name: str) -> str:
    """A VAE's tensor; four levels."""
    if name.startswith(("quant_conv", "post_quant_conv")):
        return name
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    for ours, theirs in (
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):
        name = name.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)


def write_configs(base: Path, folder: Path) -> Path:
    """What the package's `configs` is for Stable Diffusion 1.x, for the tiny base."""
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def changed(tensors: dict[str, Tensor], **changes: Any) -> dict[str, Tensor]:
    """The tensors with some prefixes left out (`without`) and others added (`extra`: name -> shape)."""
    without: tuple[str, ...] = changes.get("without", ())
    made = {name: value for name, value in tensors.items() if not name.startswith(without)}
    return {**made, **{name: torch.zeros(shape) for name, shape in changes.get("extra", {}).items()}}
