"""Independent judges of generated pairs: a defect segmenter and classifier trained on fresh renders alone.

The judges never see a generated image while they learn. They look at 128-pixel pictures, with blur, noise and
colour shifts in training, so that they judge shapes and places rather than the renderer's last detail.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import seas_train.render
import seas_train.sample
from seas_runtime.files import sha256_file
from seas_runtime.manifest.types import GOOD
from seas_train.sample import DEFECTS, render_bottle
from seas_train.training.precision import native_autocast

SIZE = 128
"""Pixels a side at which the judges look."""
CLASSES = (GOOD, *DEFECTS)
# Far from the seeds that any sample product is rendered from, so that the judges' bottles are new ones.
RENDER_SEED = 770_077
_VALIDATION_OFFSET = 1_000_000


class Renders(NamedTuple):
    """Pictures uint8 `[N, SIZE, SIZE, 3]`, masks bool `[N, SIZE, SIZE]` and class numbers int64 `[N]`."""

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    classes: NDArray[np.int64]


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture uint8 `[H, W, 3]` at the judges' size, area-averaged."""
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BOX))


def shrink_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask bool `[H, W]` at the judges' size: a pixel is on where half of it was."""
    return (
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((SIZE, SIZE), Image.Resampling.BOX))
        > 127
    )


def _render(index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    kind = CLASSES[index % len(CLASSES)]
    rendered = render_bottle(RENDER_SEED, index, None if kind == GOOD else kind, size=256)
    return shrink(rendered.image), shrink_mask(rendered.mask > 0)


def render(count: int, validation: bool = False) -> Renders:
    """`count` fresh renders, every class as often; validation shares no bottle with training."""
    start = _VALIDATION_OFFSET if validation else 0
    with ProcessPoolExecutor() as pool:
        pairs = list(pool.map(_render, range(start, start + count), chunksize=32))
    images, masks = zip(*pairs, strict=True)
    classes = np.arange(start, start + count, dtype=np.int64) % len(CLASSES)
    return Renders(np.stack(images), np.stack(masks), classes)


def _block(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


class Segmenter(nn.Module):
    """A small U-Net: picture `[B, 3, SIZE, SIZE]` in -1..1 to defect logits `[B, SIZE, SIZE]`."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(
            _block(deep + skip, skip) for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return defect logits."""
        skips = []
        hidden = image
        for depth, block in enumerate(self.down):
            hidden = block(functional.max_pool2d(hidden, 2) if depth else hidden)
            skips.append(hidden)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            hidden = block(torch.cat([functional.interpolate(hidden, scale_factor=2.0), skip], dim=1))
        logits: Tensor = self.out(hidden)[:, 0]
        return logits


class Classifier(nn.Module):
    """A small convolutional network: picture `[B, 3, SIZE, SIZE]` in -1..1 to class logits `[B, classes]`."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True))
        # The maximum finds a defect wherever it is; the mean tells how much of it there is.
        self.out = nn.Linear(2 * widths[-1], len(CLASSES))

    def forward(self, image: Tensor) -> Tensor:
        """Return class logits."""
        hidden = image
        for block in self.blocks:
            hidden = functional.max_pool2d(block(hidden), 2)
        logits: Tensor = self.out(torch.cat([hidden.amax((2, 3)), hidden.mean((2, 3))], dim=1))
        return logits


@dataclass(frozen=True)
class Judges:
    """A trained segmenter and classifier, in evaluation mode."""

    segmenter: Segmenter
    classifier: Classifier

    @torch.inference_mode()
    def judge(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Masks bool `[N, SIZE, SIZE]` and classes int64 `[N]` of pictures uint8 `[N, SIZE, SIZE, 3]`."""
        masks, classes = [], []
        for start in range(0, len(images), 50):
            pictures = _to_tensor(images[start : start + 50])
            masks.append((self.segmenter(pictures) > 0).numpy())
            classes.append(self.classifier(pictures).argmax(1).numpy())
        return np.concatenate(masks), np.concatenate(classes)


def _to_tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _augment(pictures: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Quarter turns and flips of both; blur, noise, gain and offset per channel of the pictures alone."""
    turns = int(torch.randint(0, 4, (), generator=generator))
    pictures, masks = torch.rot90(pictures, turns, (2, 3)), torch.rot90(masks, turns, (1, 2))
    if torch.rand((), generator=generator) < 0.5:
        pictures, masks = pictures.flip(3), masks.flip(2)
    count = len(pictures)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    pictures = torch.lerp(pictures, blurred, share)
    gain = 1 + 0.16 * (torch.rand((count, 3, 1, 1), generator=generator) - 0.5)
    offset = 0.16 * (torch.rand((count, 3, 1, 1), generator=generator) - 0.5)
    sigma = 0.06 * torch.rand((count, 1, 1, 1), generator=generator)
    noise = torch.randn(pictures.shape, generator=generator) * sigma
    return (pictures * gain + offset + noise).clamp(-1, 1), masks


def train_judges(renders: Renders, epochs: int = 10, batch: int = 32, seed: int = 0) -> Judges:
    """Train both judges on `renders` with a one-cycle learning rate; seeded, a few minutes on two cores."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    segmenter = Segmenter().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classifier = Classifier().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = [*segmenter.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-2)
    steps = epochs * (len(renders.images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(renders.images), generator=generator).numpy()
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            pictures = _to_tensor(renders.images[chosen])
            masks = torch.from_numpy(renders.masks[chosen]).float()
            pictures, masks = _augment(pictures, masks, generator)
            with native_autocast(torch.device("cpu"), wanted=True):
                shown = pictures.contiguous(memory_format=torch.channels_last)
                logits, kinds = segmenter(shown).float(), classifier(shown).float()
            loss = functional.binary_cross_entropy_with_logits(logits, masks) + _dice_loss(logits, masks)
            loss = loss + functional.cross_entropy(
                kinds, torch.from_numpy(renders.classes[chosen]), label_smoothing=0.02
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return Judges(segmenter.eval(), classifier.eval())


def kept_judges(file: Path, count: int) -> Judges | None:
    """The judges that `keep_judges` put in `file`, None where there are none of this count and code."""
    if not file.is_file():
        return None
    kept = torch.load(file, weights_only=True)
    if kept["made_by"] != _made_by(count):
        return None
    segmenter, classifier = Segmenter(), Classifier()
    segmenter.load_state_dict(kept["segmenter"])
    classifier.load_state_dict(kept["classifier"])
    return Judges(segmenter.eval(), classifier.eval())


def keep_judges(judges: Judges, file: Path, count: int) -> None:
    """Keep judges that were trained on `count` fresh renders."""
    kept = {
        "segmenter": judges.segmenter.state_dict(),
        "classifier": judges.classifier.state_dict(),
        "made_by": _made_by(count),
    }
    torch.save(kept, file)


def _made_by(count: int) -> dict[str, Any]:
    """What judges follow from: how many renders, and the code that renders and trains."""
    folders = [Path(module.__path__[0]) for module in (seas_train.sample, seas_train.render)]
    files = [Path(__file__), *sorted(file for folder in folders for file in folder.glob("*.py"))]
    return {"count": count, "code": [sha256_file(file) for file in files]}


def _dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """One minus the overlap of both areas, pooled over the batch."""
    probability = logits.sigmoid()
    return 1 - 2 * (probability * masks).sum() / (probability.sum() + masks.sum() + 1)
