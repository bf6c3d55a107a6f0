"""The two branches of BiSeNet V2 and where they meet; widths and strides are those of the paper's table 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DETAIL = (64, 64, 128)
"""Widths of the detail branch's stages, each at half the resolution of the one before."""
SEMANTIC = (16, 32, 64, 128)
"""Widths of the stem and of the semantic branch's stages 3 to 5: a quarter of the detail branch's first."""
EXPANSION = 6


def convolved(into: int, out: int, side: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution and batch normalisation."""
    convolution = nn.Conv2d(into, out, side, stride, side // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out))


def activated(into: int, out: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution, batch normalisation and ReLU."""
    return nn.Sequential(*convolved(into, out, side, stride), nn.ReLU(True))


class DetailBranch(nn.Sequential):
    """Wide and shallow: pictures [B, 3, h, w] to [B, 128, h/8, w/8]."""

    def __init__(self) -> None:
        first, second, third = DETAIL
        super().__init__(
            activated(3, first, stride=2),
            activated(first, first),
            activated(first, second, stride=2),
            activated(second, second),
            activated(second, second),
            activated(second, third, stride=2),
            activated(third, third),
            activated(third, third),
        )


class Stem(nn.Module):
    """Shrinks [B, 3, h, w] to [B, 16, h/4, w/4] by a strided convolution and by pooling, side by side."""

    def __init__(self) -> None:
        super().__init__()
        width = SEMANTIC[0]
        self.first = activated(3, width, stride=2)
        self.strided = nn.Sequential(activated(width, width // 2, 1), activated(width // 2, width, stride=2))
        self.fused = activated(2 * width, width)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the stem's features."""
        there = self.first(pictures)
        both = [self.strided(there), functional.max_pool2d(there, 3, 2, 1)]
        made: Tensor = self.fused(torch.cat(both, 1))
        return made


class GatherExpand(nn.Module):
    """The gather-and-expansion layer; with a stride of 2 it has two depthwise convolutions and a short cut
    of its own."""

    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        wide = EXPANSION * into
        depthwise = [convolved(into, wide, stride=stride, groups=into)]
        if stride == 2:
            depthwise.append(convolved(wide, wide, groups=wide))
        self.through = nn.Sequential(
            activated(into, into), *depthwise, nn.ReLU(True), convolved(wide, out, 1)
        )
        self.beside: nn.Module = nn.Identity()
        if stride == 2:
            self.beside = nn.Sequential(convolved(into, into, stride=2, groups=into), convolved(into, out, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return features [B, out, h / stride, w / stride]."""
        return functional.relu(self.through(features) + self.beside(features))


class ContextEmbedding(nn.Module):
    """Adds what the whole picture shows, averaged over its places, to every place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normalized = nn.BatchNorm2d(width)
        self.whole = activated(width, width, 1)
        self.fused = activated(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return features [B, width, h, w]."""
        whole = self.whole(self.normalized(features.mean((2, 3), keepdim=True)))
        made: Tensor = self.fused(features + whole)
        return made


class SemanticBranch(nn.Module):
    """Narrow and deep: down to 1/32, with a wide field of view."""

    def __init__(self) -> None:
        super().__init__()
        stem, third, fourth, fifth = SEMANTIC
        self.stem = Stem()
        self.third = nn.Sequential(GatherExpand(stem, third, 2), GatherExpand(third, third))
        self.fourth = nn.Sequential(GatherExpand(third, fourth, 2), GatherExpand(fourth, fourth))
        self.fifth = nn.Sequential(
            GatherExpand(fourth, fifth, 2), *(GatherExpand(fifth, fifth) for _ in range(3))
        )
        self.context = ContextEmbedding(fifth)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return features [B, 128, h/32, w/32], and those of stem and stages 3 to 5 that boosters see."""
        stages = [self.stem(pictures)]
        for stage in (self.third, self.fourth, self.fifth):
            stages.append(stage(stages[-1]))
        return self.context(stages[-1]), stages


class Aggregation(nn.Module):
    """Bilateral guided aggregation: each branch gates the other, at 1/8 and at 1/32."""

    def __init__(self, width: int = DETAIL[-1]) -> None:
        super().__init__()
        self.detail_kept = nn.Sequential(convolved(width, width, groups=width), nn.Conv2d(width, width, 1))
        self.detail_shrunk = nn.Sequential(convolved(width, width, stride=2), nn.AvgPool2d(3, 2, 1))
        self.semantic_kept = nn.Sequential(convolved(width, width, groups=width), nn.Conv2d(width, width, 1))
        self.semantic_grown = convolved(width, width)
        self.fused = convolved(width, width)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Return [B, 128, h/8, w/8] of detail features of that size and semantic ones a quarter of it."""
        size = detail.shape[-2:]
        fine = self.detail_kept(detail) * _grown(self.semantic_grown(semantic), size).sigmoid()
        coarse = self.detail_shrunk(detail) * self.semantic_kept(semantic).sigmoid()
        made: Tensor = self.fused(fine + _grown(coarse, size))
        return made


def _grown(features: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)
