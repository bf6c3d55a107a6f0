"""Trains a segmenter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from seas_train.proof.anomalies import Anomalies
from seas_train.proof.crops import Light, Sources, draw_batch
from seas_train.proof.pictures import Pictures
from seas_train.proof.segmenters.contract import Segmenter
from seas_train.proof.segmenters.table import DRAWING, check_segmenter, make_segmenter
from seas_train.settings import Bound, Count, Positive, Settings, Share, require
from seas_train.training.allocator import keep_where_small
from seas_train.training.random import step_random

_STAGE = "proof"
WARM_UP = 0.05
"""Of the steps: over these the rate rises to its full height; afterwards it falls as a cosine."""


@dataclass(frozen=True)
class Recipe(Settings):
    """How every segmenter of a proof is trained."""

    segmenter: str = "unet"
    pretrained: bool = True
    steps: Count = 800
    """After 300 a pretrained U-Net found 0 to 83 % of a product's `uneven` from seed to seed."""
    batch: Annotated[int, Bound("2 or more", lambda value: value >= 2)] = 8
    crop: Annotated[int, Bound("32 to 1024", lambda value: 32 <= value <= 1024)] = 128
    """Pixels of a side."""
    rate: Positive = 3e-4
    """At 1e-3 the same U-Net learnt less of real pairs alone: a pooled IoU of 13, at 3e-4 of 17 per cent."""
    share: Share = 0.5
    """Of the crops with a defect, those of generated or pasted pairs."""
    light: Light = 1.0
    textures: Path | None = None
    """The folder of pictures that drawn anomalies look like; None for the product's own, shuffled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_segmenter(self.segmenter)
        require(
            self.textures is None or self.segmenter in DRAWING,
            "--textures",
            f"a segmenter that draws anomalies ({', '.join(DRAWING)})",
            self.segmenter,
        )
        require(self.crop % 32 == 0, "--crop", "a multiple of 32", self.crop)


def fit(
    recipe: Recipe,
    pictures: Pictures,
    sources: Sources,
    seed: int,
    device: str,
    done: Callable[[int], object] = lambda step: None,
) -> Segmenter:
    """Return a segmenter that was trained on `sources`; the seed decides weights, draws and augmentation.

    done: told the steps that are done.
    """
    trained = None
    for trained, step in fitting(recipe, pictures, sources, seed, device):  # noqa: B007
        done(step)
    assert trained is not None
    return trained.eval()


def fitting(
    recipe: Recipe, pictures: Pictures, sources: Sources, seed: int, device: str
) -> Iterator[tuple[Segmenter, int]]:
    """Train, and yield the segmenter and the steps that are done after each."""
    torch.manual_seed(seed)
    layout = torch.channels_last if device == "cpu" else torch.contiguous_format
    model = make_segmenter(recipe.segmenter, recipe.pretrained).to(device, memory_format=layout).train()  # type: ignore[call-overload]
    keep_where_small(device, sum(parameter.numel() for parameter in model.parameters()))
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=1e-4)
    anomalies = Anomalies.of(recipe.textures, pictures) if model.draws_anomalies else None
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_at(step, recipe.steps)
        random = step_random(seed, _STAGE, step)
        batch = draw_batch(
            random.numpy, pictures, sources, recipe.crop, recipe.batch, anomalies, recipe.light
        )
        loss = model.loss(batch.to(device, layout), random.torch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield model, step + 1


def rate_at(step: int, steps: int) -> float:
    """Return the share of the learning rate's height at a step: a rise, then half a cosine."""
    rise = max(1, round(WARM_UP * steps))
    return min((step + 1) / rise, 0.5 * (1 + math.cos(math.pi * step / steps)))
