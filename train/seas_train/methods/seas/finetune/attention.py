"""Cross-attention maps, read off the U-Net while it predicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.bases.base import unet_reduction
from seas_train.methods.seas.finetune.config import AttentionMaps

REDUCTIONS = (2, 4)
"""The DA loss reads the maps at 1/2 and 1/4 of the latent's resolution (32 and 16 pixels in SD 1.x)."""

_LAYER = re.compile(r"(down|up)_blocks\.(\d+)\..*\.attn2\.processor")


def cross_attention_layers(unet: Any, maps: AttentionMaps) -> dict[str, int]:
    """The cross-attention layers that the DA loss reads, by processor name, with the reduction of their
    resolution.

    Raises:
        UserError: the U-Net has no such layer at one of the two resolutions.
    """
    down_reductions, reduction = [], 1
    for block in unet.down_blocks:
        down_reductions.append(reduction)
        reduction *= 2 if block.downsamplers is not None else 1
    up_reductions, reduction = [], unet_reduction(unet)
    for block in unet.up_blocks:
        up_reductions.append(reduction)
        reduction //= 2 if block.upsamplers is not None else 1

    layers: dict[str, int] = {}
    for name in unet.attn_processors:
        match = _LAYER.fullmatch(name)
        if match is None or (maps is AttentionMaps.AUTHORS and match[1] == "up"):
            continue
        found = (down_reductions if match[1] == "down" else up_reductions)[int(match[2])]
        if found in REDUCTIONS:
            layers[name] = found
    missing = set(REDUCTIONS) - set(layers.values())
    if missing:
        raise UserError(
            f"base: expected cross-attention at 1/{REDUCTIONS[0]} and 1/{REDUCTIONS[1]} of the latent's "
            f"resolution, found none at 1/{min(missing)}; the DA loss cannot be computed on this U-Net"
        )
    return layers


@dataclass
class _Capture:
    """Computes cross-attention in the open, and keeps its map."""

    recorder: AttentionRecorder
    name: str

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        batch, pixels, _ = hidden_states.shape
        query, key, value = (
            projected.view(batch, -1, attn.heads, projected.shape[-1] // attn.heads).transpose(1, 2)
            for projected in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )  # [B, heads, HW or L, d]
        scores = (query @ key.transpose(-1, -2)).float() * attn.scale  # [B, heads, HW, L]
        probabilities = scores.softmax(dim=-1)
        self.recorder.record(self.name, scores, probabilities)
        attended = (probabilities.to(value.dtype) @ value).transpose(1, 2).reshape(batch, pixels, -1)
        result: Tensor = attn.to_out[1](attn.to_out[0](attended))
        return result


class AttentionRecorder:
    """Installs itself in a U-Net's cross-attention layers, and gives their maps after a forward pass."""

    def __init__(self, unet: Any, maps: AttentionMaps) -> None:
        self._unet = unet
        self._maps = maps
        self._layers = cross_attention_layers(unet, maps)
        self._original = dict(unet.attn_processors)
        self._recorded: dict[str, Tensor] = {}
        self._recording = False
        unet.set_attn_processor(
            {n: _Capture(self, n) if n in self._layers else p for n, p in self._original.items()}
        )

    def compute_openly(self) -> None:
        """Compute the layers that are not recorded in the open too, their scores held whole: with few pixels,
        in bfloat16 on a CPU, faster than the fused kernel, above all on the way back."""
        from diffusers.models.attention_processor import AttnProcessor

        self._unet.set_attn_processor(
            {n: p if n in self._layers else AttnProcessor() for n, p in self._unet.attn_processors.items()}
        )

    def remove(self) -> None:
        """Give the U-Net its own attention back."""
        self._unet.set_attn_processor(dict(self._original))

    def start(self) -> None:
        """Record the next forward pass."""
        self._recorded.clear()
        self._recording = True

    def record(self, name: str, scores: Tensor, probabilities: Tensor) -> None:
        """Keep a layer's maps [B, HW, L], the mean over heads; called by the layers."""
        # Computed even where it is not kept: gradient checkpointing's second pass must repeat the first to
        # the letter.
        weights = probabilities if self._maps is AttentionMaps.PAPER else scores.softmax(dim=-2)
        mean = weights.mean(dim=1)
        if self._recording:
            self._recorded[name] = mean

    def stop(self) -> dict[int, Tensor]:
        """The maps of the forward pass: reduction -> [B, h/r, w/r, L] f32, the mean over heads and layers."""
        self._recording = False
        maps: dict[int, Tensor] = {}
        for reduction in REDUCTIONS:
            layers = [self._recorded[name] for name, found in self._layers.items() if found == reduction]
            mean = torch.stack(layers).mean(dim=0)  # [B, HW, L]
            side = round(mean.shape[1] ** 0.5)
            maps[reduction] = mean.view(mean.shape[0], side, side, -1)
        self._recorded.clear()
        return maps


@torch.no_grad()
def where_tokens_look(
    model: Callable[..., Any],
    scheduler: Any,
    prompt_ids: Tensor,
    positions: Sequence[Tensor],
    latents: Tensor,
) -> list[Tensor]:
    """Return for each prompt the maps [tokens, h/2, w/2] of its tokens at `positions`.

    Little noise is added, the schedule's at a tenth of its length: where tokens look is settled there.

    Args:
        model: the trained one, on the latents' device: it returns maps by reduction besides.
        scheduler: a diffusers scheduler with the noise schedule.
        prompt_ids: [P, L], one prompt a picture.
        positions: of each prompt's tokens.
        latents: [P, C, h, w], scaled.
    """
    count, device = len(latents), latents.device
    timesteps = torch.full((count,), scheduler.config.num_train_timesteps // 10, device=device)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    _, maps = model(noisy, timesteps, prompt_ids, torch.arange(count, device=device))
    whole = maps[REDUCTIONS[0]].float().permute(0, 3, 1, 2)  # [P, L, h/2, w/2]
    return [whole[row, places.to(device)] for row, places in enumerate(positions)]
