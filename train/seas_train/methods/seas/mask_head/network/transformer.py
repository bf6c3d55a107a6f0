"""Self-attention over the coarse features: diffusers' `Transformer2DModel`, reduced to what the head uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head self-attention over [B,N,C]; no biases on queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, width, bias=False)
        self.to_v = nn.Linear(width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,N,C]."""

        def split(projected: Tensor) -> Tensor:
            return torch.unflatten(projected, -1, (self.heads, -1)).transpose(1, 2)  # [B,heads,N,C/heads]

        mixed = functional.scaled_dot_product_attention(
            split(self.to_q(x)), split(self.to_k(x)), split(self.to_v(x))
        )
        joined: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return joined


class GatedGelu(nn.Module):
    """A linear layer to twice the width, one half gating the other by GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,N,hidden]."""
        value, gate = torch.chunk(self.proj(x), 2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    """Gated feed-forward of four times the width; the identity stands where diffusers has a dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedGelu(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,N,C]."""
        result: Tensor = self.net(x)
        return result


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each after a layer norm and with a residual.

    The second norm is called `norm3` because diffusers' `norm2` belongs to the cross-attention that is left
    out.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,N,C]."""
        x = x + self.attn1(self.norm1(x))
        result: Tensor = x + self.ff(self.norm3(x))
        return result


class SpatialTransformer(nn.Module):
    """Group norm, 1x1 projection, layers of self-attention over the pixels, 1x1 projection, residual."""

    def __init__(self, width: int, heads: int, groups: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)  # diffusers' epsilon for this norm
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerLayer(width, heads) for _ in range(depth)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C,h,w]."""
        height, width = x.shape[2:]
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # [B,h*w,C]
        for layer in self.transformer_blocks:
            tokens = layer(tokens)
        pixels = torch.unflatten(tokens.transpose(1, 2), 2, (height, width))
        result: Tensor = self.proj_out(pixels) + x
        return result


class TransformerStage(nn.Module):
    """Holds the one transformer under the name that a diffusers U-Net block gives it."""

    def __init__(self, width: int, heads: int, groups: int, depth: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SpatialTransformer(width, heads, groups, depth)])

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,h,w] to [B,C,h,w]."""
        result: Tensor = self.attentions[0](x)
        return result
