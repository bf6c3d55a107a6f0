"""Trains a classifier on whole pictures, and names photographs with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from seas_train.proof.classifiers.table import check_classifier, make_classifier
from seas_train.proof.crops import Light, Sources, evenly, lit, moved
from seas_train.proof.fitting import rate_at
from seas_train.proof.pictures import Pictures, Sample
from seas_train.settings import Bound, Count, Positive, Settings, Share
from seas_train.training.random import step_random

_STAGE = "proof of names"
ZOOM = (1.0, 1.25)
"""Pictures are shrunk alone: a defect at the edge stays in sight."""


@dataclass(frozen=True)
class ClassifierRecipe(Settings):
    """How every classifier of a proof is trained."""

    classifier: str = "resnet-small"
    steps: Count = 300
    batch: Annotated[int, Bound("2 or more", lambda value: value >= 2)] = 8
    side: Annotated[int, Bound("32 to 1024", lambda value: 32 <= value <= 1024)] = 128
    """Pixels of the square that a whole picture becomes."""
    rate: Positive = 1e-3
    share: Share = 0.5
    """Of the pictures, generated or pasted ones, where there are both."""
    light: Light = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_classifier(self.classifier)


def fitting(
    recipe: ClassifierRecipe,
    pictures: Pictures,
    sources: Sources,
    names: Sequence[str],
    seed: int,
    device: str,
) -> Iterator[tuple[nn.Module, int]]:
    """Train, and yield the classifier and the steps that are done after each.

    names: of the defects, in the order of the logits.
    """
    torch.manual_seed(seed)
    model = make_classifier(recipe.classifier, len(names)).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=1e-4)
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_at(step, recipe.steps)
        random = step_random(seed, _STAGE, step).numpy
        chosen = [evenly(random, sources.pairs(random.random() < recipe.share)) for _ in range(recipe.batch)]
        seen = torch.stack([whole(pictures, sample, recipe.side) for sample in chosen])
        seen = lit(random, moved(random, seen, recipe.side, zoom=ZOOM, quarters=False), recipe.light)
        wanted = torch.tensor([names.index(sample.defect) for sample in chosen])
        loss = functional.cross_entropy(model((2 * seen - 1).to(device)), wanted.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield model, step + 1


@torch.inference_mode()
def name_defect(
    model: nn.Module, pictures: Pictures, sample: Sample, side: int, device: str
) -> NDArray[np.float32]:
    """Return the probability [D] of each defect."""
    seen = whole(pictures, sample, side)[None]
    found: Tensor = model((2 * seen - 1).to(device)).softmax(1)[0]
    return np.asarray(found.float().cpu().numpy(), np.float32)


def whole(pictures: Pictures, sample: Sample, side: int) -> Tensor:
    """Return a whole picture as a square [3, side, side] of 0 to 1."""
    image = Image.fromarray(pictures.read(sample)[0]).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
