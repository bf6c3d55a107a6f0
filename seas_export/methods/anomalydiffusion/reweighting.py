"""Adaptive attention re-weighting: its weights, and a U-Net that takes them, to trace and to compare with.

With w one number a pixel and k' the placeholders' columns, two forms are one graph: logits l are taken to
l (1 + (w - 1) 1_column) before the softmax (the authors' code), rows of the attention's output to w times
themselves after it, which is what multiplying the map's rows gives (the paper).
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.diffusion.taps import unet_with_taps

LEAST, MOST = 1.0, 1.5
"""What the authors' weights are clamped to."""
_TINY = 1e-30
"""The least difference that is divided by: 1 / d stays finite."""


class AuthorsWeights(nn.Module):
    """latents, noised background [B, C, h, w] and the grown mask [B, 1, h, w] -> weights [B, 1, h, w]."""

    def forward(self, latents: Tensor, noised: Tensor, reweight_mask: Tensor) -> Tensor:
        """Return |m|_1 softmax(1 / d) where the mask is, clamped, and 1 elsewhere."""
        difference = (reweight_mask * (latents - noised)).square().mean(dim=1, keepdim=True)
        weights = spread(difference, reweight_mask)
        return torch.where(reweight_mask > 0, weights.clamp(LEAST, MOST), torch.ones_like(weights))


class PaperWeights(nn.Module):
    """A decoded estimate [B, 3, S, S], the photograph and its mask [B, 1, S, S] -> weights [B, 1, h, w].

    In the first step, `step_index` 0, there is no estimate yet, and all weights are 1.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(
        self, decoded: Tensor, photograph: Tensor, reweight_pixels: Tensor, step_index: Tensor
    ) -> Tensor:
        """Return |m|_1 softmax(1 / d) over the pixels, the mean of each cell; 0 outside of the mask."""
        difference = (reweight_pixels * (photograph - decoded)).square().mean(dim=1, keepdim=True)
        weights = functional.avg_pool2d(spread(difference, reweight_pixels), self.factor)
        return torch.where(step_index > 0, weights, torch.ones_like(weights))


def spread(difference: Tensor, mask: Tensor) -> Tensor:
    """Return |m|_1 softmax(f) over the pixels [B, 1, h, w], f = 1 / d and -inf where d = 0, in float32."""
    flat = difference.float().flatten(1)
    inverse = 1 / flat.clamp_min(_TINY)
    score = torch.where(flat > 0, inverse, torch.full_like(inverse, -math.inf))
    highest = score.amax(dim=1, keepdim=True).clamp_min(-1.0)  # of a mask without any difference
    shares = torch.exp(score - highest)
    shares = shares / shares.sum(dim=1, keepdim=True).clamp_min(_TINY)
    return (shares * mask.sum(dim=(1, 2, 3))[:, None]).reshape(difference.shape)


class ReweightedUNet(nn.Module):
    """A U-Net whose cross-attention takes weights; it shares the weights of the one that it is made of.

    columns: places of the context whose logits are multiplied.
    """

    def __init__(self, unet: Any, columns: range, *, plain: bool = False) -> None:
        super().__init__()
        self.unet = copy.deepcopy(unet)
        self.unet.load_state_dict(unet.state_dict(), assign=True)
        self._given: dict[str, Tensor] = {}
        kind = _PlainProcessor if plain else _DoubledProcessor
        for name, module in self.unet.named_modules():
            if name.endswith("attn2"):
                module.set_processor(kind(self._given, columns))

    def forward(
        self, latents: Tensor, timestep: Tensor, context: Tensor, logit_weights: Tensor, row_weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the noise; weights: [B, 1, h, w] each."""
        self._given.update(logits=logit_weights, rows=row_weights)
        try:
            return unet_with_taps(self.unet, latents, timestep, context)
        finally:
            self._given.clear()


class _Processor:
    """diffusers' attention over a context, with weights a pixel."""

    def __init__(self, given: dict[str, Tensor], columns: range) -> None:
        self._given, self._columns = given, columns

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        side = math.isqrt(hidden_states.shape[1])
        query, key, value = (
            layer(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # [B, heads, n, d]
            for layer, states in (
                (attn.to_q, hidden_states),
                (attn.to_k, encoder_hidden_states),
                (attn.to_v, encoder_hidden_states),
            )
        )
        logits, rows = (self._at(name, side) for name in ("logits", "rows"))
        columns = torch.zeros(key.shape[2], dtype=key.dtype, device=key.device)
        columns[self._columns.start : self._columns.stop] = 1
        made = rows * self.attend(query, key, value, logits, columns)
        result: Tensor = attn.to_out[1](attn.to_out[0](made.transpose(1, 2).flatten(2)))
        return result

    def _at(self, name: str, side: int) -> Tensor:
        """Return weights at a layer's own resolution, [B, 1, pixels, 1]: the mean of its cells."""
        weights = self._given[name]
        factor = weights.shape[-1] // side
        if factor > 1:
            weights = functional.avg_pool2d(weights, factor)
        return weights.flatten(2)[..., None]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
        """Return the attention's output [B, heads, pixels, d]."""
        raise NotImplementedError


class _DoubledProcessor(_Processor):
    """q' = [q, (w - 1) q] and k' = [k, 1_column k] have the re-weighted logits as their products."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
        scale = query.shape[-1] ** -0.5  # of the undoubled head
        query = torch.cat([query, (weights - 1) * query], dim=-1)
        key = torch.cat([key, columns[:, None] * key], dim=-1)
        scores = torch.softmax((query @ key.transpose(-1, -2)) * scale, dim=-1)
        return scores @ value


class _PlainProcessor(_Processor):
    """The same as it is written: logits of the columns times w."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
        logits = torch.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(query.shape[-1])
        logits = torch.where(columns > 0, logits * weights, logits)
        return torch.einsum("bhqk,bhkd->bhqd", logits.softmax(dim=-1), value)
