"""Bases whose U-Nets lack blocks: BK-SDM's three, in small and, without weights, in full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seas_train.bases.base import Base, load_base, unet_reduction
from seas_train.diffusion.taps import tap_indices, unet_with_taps
from seas_train.methods.seas.finetune.attention import cross_attention_layers
from seas_train.methods.seas.finetune.config import AttentionMaps, FinetuneConfig
from seas_train.methods.seas.finetune.memory_estimate import estimate_memory
from seas_train.methods.seas.taps import TapGeometry
from tests.bases import LATENT_SIZE, write_tiny_base

_LEVELS = {
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
}
# As the three are published (src/unet_config of Nota-NetsPresso/BK-SDM): what differs from SD 1.4's U-Net.
KINDS: dict[str, dict[str, Any]] = {
    "base": {"layers_per_block": 1},
    "small": {"layers_per_block": 1, "mid_block_type": None},
    "tiny": {"layers_per_block": 1, "mid_block_type": None, **_LEVELS},
}
PARAMETERS = {"base": 0.58e9, "small": 0.49e9, "tiny": 0.33e9}
"""Of the U-Nets, from BK-SDM's model card."""


def small(kind: str) -> dict[str, Any]:
    """A U-Net of that kind at the tiny base's width."""
    widths = (16, 16, 32) if kind == "tiny" else (16, 16, 32, 32)
    return {"block_out_channels": widths, **KINDS[kind]}


@pytest.mark.parametrize("kind", KINDS)
def test_taps_and_maps_are_found_by_resolution(kind: str, tmp_path: Path) -> None:
    base = load_base(write_tiny_base(tmp_path / "base", unet=small(kind)))
    sample, context = torch.randn(1, 4, LATENT_SIZE, LATENT_SIZE), torch.randn(1, 16, 16)
    with torch.no_grad():
        eps, coarse, fine = unet_with_taps(base.unet, sample, torch.tensor(300), context)
        expected = base.unet(sample, torch.tensor(300), context).sample
    assert torch.equal(eps, expected)
    assert (coarse.shape[-1], fine.shape[-1]) == (LATENT_SIZE // 2, LATENT_SIZE)
    taps = TapGeometry.of(base.unet, base.vae)
    assert (coarse.shape[1], fine.shape[1]) == (taps.coarse, taps.fine)
    for maps in AttentionMaps:
        assert set(cross_attention_layers(base.unet, maps).values()) == {2, 4}


def on_meta(kind: str, base: Base) -> Any:
    """The U-Net of that kind in full size, without weights."""
    from diffusers import UNet2DConditionModel

    widths = (320, 640, 1280) if kind == "tiny" else (320, 640, 1280, 1280)
    with torch.device("meta"):
        return UNet2DConditionModel(
            sample_size=64,
            block_out_channels=widths,
            cross_attention_dim=768,
            attention_head_dim=8,
            **KINDS[kind],
        )


@pytest.mark.parametrize("kind", KINDS)
def test_in_full_size_they_are_the_published_ones_and_can_be_planned(kind: str, tiny_base: Base) -> None:
    from dataclasses import replace

    unet = on_meta(kind, tiny_base)
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert abs(count - PARAMETERS[kind]) <= 0.01e9  # the card rounds up
    coarse, fine = tap_indices(unet)
    # The channels that SD 1.4 has there, so that its mask head fits.
    assert unet.up_blocks[coarse].resnets[-1].out_channels == 1280
    assert unet.up_blocks[fine].resnets[-1].out_channels == 640
    assert unet_reduction(unet) == (4 if kind == "tiny" else 8)
    context = torch.empty(1, 77, 768, device="meta")
    sample, timestep = torch.empty(1, 4, 64, 64, device="meta"), torch.empty(1, device="meta")
    eps, low, mid = unet_with_taps(unet, sample, timestep, context)
    assert (eps.shape, low.shape, mid.shape) == ((1, 4, 64, 64), (1, 1280, 32, 32), (1, 640, 64, 64))
    geometry = replace(
        tiny_base.geometry, image_size=512, latent_size=64, context_length=77, context_width=768
    )
    planned = estimate_memory(
        replace(tiny_base, unet=unet, geometry=geometry), FinetuneConfig(), image_size=512
    )
    assert planned.parts["gradients"] == 4 * count
