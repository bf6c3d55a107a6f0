"""ResNet (He et al. 2016) of basic blocks: ResNet-34, and a small one for processors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two convolutions, and what came in beside them."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(True)
        )
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.beside: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            self.beside = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, features: Tensor) -> Tensor:
        """Return features [B, out, h / stride, w / stride]."""
        return functional.relu(self.second(self.first(features)) + self.beside(features))


class ResNet(nn.Module):
    """Pictures [B, 3, h, w] of -1 to 1 to logits [B, classes]."""

    def __init__(self, classes: int, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.MaxPool2d(3, 2, 1),
        )
        layers: list[nn.Module] = []
        there = width
        for stage, count in enumerate(blocks):
            out = width * 2**stage
            for place in range(count):
                layers.append(BasicBlock(there, out, 2 if stage and not place else 1))
                there = out
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(there, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits."""
        made: Tensor = self.head(self.blocks(self.stem(pictures)).mean((2, 3)))
        return made
