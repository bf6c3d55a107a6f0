"""MIF and DDF: features are fused into tokens, and those lifted to a step's time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_train.methods.inpainting.mask_layers import mask_layers

_SCALE = 0.02
"""Of the first tokens of place."""


class MaskTokens(nn.Module):
    """e_loc: a small network from masks [B, 1, S, S] to k tokens [B, k, D], trained from random weights."""

    def __init__(self, tokens: int, width: int, channels: int = 48) -> None:
        super().__init__()
        self.layers = mask_layers(channels)
        self.out = nn.Sequential(
            nn.Linear(16 * channels, 2 * width), nn.SiLU(), nn.Linear(2 * width, tokens * width)
        )
        self.tokens = tokens

    def forward(self, masks: Tensor) -> Tensor:
        """Return the tokens."""
        small = functional.interpolate(masks, size=(64, 64), mode="bilinear", align_corners=False)
        made: Tensor = self.out(self.layers(small).flatten(1)).unflatten(-1, (self.tokens, -1))
        return made


class Fusion(nn.Module):
    """MIF: e_X = e + MLP(self-attention(e)), e the sentence's, the place's and the texture's tokens."""

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.heads = tokens, heads
        self.place = MaskTokens(tokens, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        last = nn.Linear(2 * width, width)
        nn.init.normal_(last.weight, std=_SCALE)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), last)

    def joined(self, sentence: Tensor, textures: Tensor, pixel_mask: Tensor) -> Tensor:
        """Return e, [B, 3 k, D]: the sentence's feature k times, the place's tokens, the texture's."""
        repeated = sentence[:, None].expand(-1, self.tokens, -1)
        return torch.cat([repeated, self.place(pixel_mask), textures], dim=1)

    def forward(self, sentence: Tensor, textures: Tensor, pixel_mask: Tensor) -> Tensor:
        """Fuse.

        Args:
            sentence: [B, D], L2-normalised.
            textures: [B, k, D].
            pixel_mask: [B, 1, S, S], 0 or 1.
        """
        e = self.joined(sentence, textures, pixel_mask)
        query, key, value = (
            layer(e).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        made: Tensor = e + self.mlp((scores @ value).transpose(1, 2).flatten(2))
        return made


class TimeFusion(nn.Module):
    """DDF: e_t = e_X + MLP([e_X, lift(t)]). The last layer starts as zeros, so that e_t starts as e_X."""

    frequencies: Tensor

    def __init__(self, width: int, frequencies: int = 64) -> None:
        super().__init__()
        steps = torch.exp(-math.log(10_000) * torch.arange(frequencies) / frequencies)
        self.register_buffer("frequencies", steps, persistent=False)
        self.lift = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU())
        last = nn.Linear(2 * width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU(), last)

    def forward(self, fused: Tensor, timesteps: Tensor) -> Tensor:
        """Return e_t [M, T, D] of e_X [M, T, D] at timesteps [M]."""
        angles = timesteps.float()[:, None] * self.frequencies
        lifted = self.lift(torch.cat([angles.sin(), angles.cos()], dim=-1))  # [M, D]
        both = torch.cat([fused, lifted[:, None].expand(-1, fused.shape[1], -1)], dim=-1)
        made: Tensor = fused + self.mlp(both)
        return made


def norm_loss(prediction: Tensor, noise: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over pictures of ||noise - prediction||, unsquared, in units of sqrt(numbers).

    weights: [B, 1, h, w], of the squared differences; their mean over a picture does not count. None for 1.
    """
    squared = (noise.float() - prediction.float()).square()
    if weights is not None:
        squared = squared * (weights / weights.mean(dim=(1, 2, 3), keepdim=True))
    return (squared.flatten(1).mean(dim=1) + 1e-12).sqrt().mean()
