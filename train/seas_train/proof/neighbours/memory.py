"""PatchCore (Roth et al. 2022): normals' features are remembered; what is far from all of them is a defect.

As published, but for these: EfficientNet-Lite0 instead of a WideResNet-50, features as wide as the encoder
has them, no projection before the coreset is chosen, and no weighting of the score by further neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from seas_train.proof.crops import Sources
from seas_train.proof.neighbours.coreset import FloatArray, choose_coreset, nearest_distances
from seas_train.proof.pictures import Pictures, Sample
from seas_train.settings import Bound, Count, Settings

LAYERS = (2, 3)
"""Of the encoder: 1/8 and 1/16 of the picture, as PatchCore's second and third block."""
POOLED = 3
"""Neighbouring features over a square of so many are averaged."""


@dataclass(frozen=True)
class MemoryRecipe(Settings):
    """How features are remembered."""

    kept: Annotated[float, Bound("more than 0, at most 1", lambda value: 0 < value <= 1)] = 0.1
    """The share of features in the coreset (PatchCore's 10 %)."""
    most: Count = 40_000
    """Features that the coreset is chosen from: of more so many are drawn, up to half of real pictures."""


Encoder = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""From pictures [1, 3, h, w] of -1 to 1 to features [1, C, h', w'] of each layer, the finest first."""


def lite0_encoder(device: str) -> Encoder:
    """Return EfficientNet-Lite0's features at `LAYERS`; UserError where the extra is not installed."""
    from seas_train.proof.segmenters.lite0 import classifier

    network: nn.Module = classifier().to(device)

    def layers(pictures: torch.Tensor) -> Sequence[torch.Tensor]:
        found: Sequence[torch.Tensor] = network.forward_intermediates(  # type: ignore[operator]
            pictures, indices=list(LAYERS), intermediates_only=True
        )
        return found

    return layers


@torch.inference_mode()
def features_of(encoder: Encoder, pictures: Pictures, sample: Sample, device: str) -> FloatArray:
    """Return the features [N, D] of a picture's places: each layer averaged, and side by side."""
    image = torch.from_numpy(np.array(pictures.read(sample)[0])).permute(2, 0, 1)[None]
    found = encoder((image.float() / 127.5 - 1).to(device))
    size = found[0].shape[-2:]
    smooth = [functional.avg_pool2d(one, POOLED, 1, POOLED // 2, count_include_pad=False) for one in found]
    even = [
        functional.interpolate(one, size=tuple(size), mode="bilinear", align_corners=False) for one in smooth
    ]
    flat = torch.cat(even, 1)[0].flatten(1).T
    return np.ascontiguousarray(flat.float().cpu().numpy())


def remember(
    recipe: MemoryRecipe,
    encoder: Encoder,
    pictures: Pictures,
    sources: Sources,
    seed: int,
    device: str,
    done: Callable[[int], object] = lambda pictures: None,
) -> FloatArray:
    """Return the bank [M, D] of what normals look like; `done` is told how many pictures were encoded."""
    random = np.random.default_rng(seed)
    told = 0
    sides: list[FloatArray] = []
    for samples in (sources.real_normals, sources.made_normals):
        found = []
        for sample in samples:
            found.append(features_of(encoder, pictures, sample, device))
            told += 1
            done(told)
        sides.append(np.concatenate(found) if found else np.zeros((0, 1), np.float32))
    pool = pool_of(random, sides[0], sides[1], recipe.most)
    return pool[choose_coreset(pool, max(1, round(recipe.kept * len(pool))), random)]


def pool_of(random: np.random.Generator, real: FloatArray, made: FloatArray, most: int) -> FloatArray:
    """Return at most `most` features of real and of generated pictures; real ones have half of it at least,
    where there are so many."""
    of_real = min(len(real), max(most // 2, most - len(made)))
    sides = [_drawn(random, side, share) for side, share in ((real, of_real), (made, most - of_real))]
    return np.concatenate([side for side in sides if len(side)])


def score_of(encoder: Encoder, bank: FloatArray, pictures: Pictures, sample: Sample, device: str) -> float:
    """Return how far the place of a picture that is farthest from the bank lies from it."""
    return float(nearest_distances(features_of(encoder, pictures, sample, device), bank).max())


def _drawn(random: np.random.Generator, points: FloatArray, most: int) -> FloatArray:
    return points if len(points) <= most else points[random.choice(len(points), most, replace=False)]
