"""The product's training images as latents, with their masks, in every augmentation that training may draw.

An image is a whole photograph, or a region of one. Encoding is the same for every step, so each (image,
augmentation) is encoded once, when first asked for or
ahead of training, and its posterior's mean and deviation are kept in memory: sampling from it, as the authors
do, stays fresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from seas_train.bases.base import Geometry
from seas_train.data import Product
from seas_train.data.regions import View
from seas_train.training.precision import native_autocast

REGION_AUGMENTATIONS = 2
"""Of each region: there are several of a photograph, each another one already."""


@dataclass(frozen=True)
class Augmentation:
    """One of the eight symmetries of a square: rotated by `turns` times 90 degrees, then mirrored."""

    turns: int
    mirrored: bool

    def apply(self, image: Tensor) -> Tensor:
        """The augmented image [..., H, W]; the same for an image, a mask, or a map of attention."""
        turned = torch.rot90(image, self.turns, dims=(-2, -1))
        return turned.flip(-1) if self.mirrored else turned


def augmentations(rotate: bool, flip: bool) -> tuple[Augmentation, ...]:
    """Every augmentation that the two options allow; the first is the identity."""
    return tuple(
        Augmentation(turns, mirrored)
        for turns in range(4 if rotate else 1)
        for mirrored in ((False, True) if flip else (False,))
    )


@dataclass(frozen=True)
class Example:
    """A photograph, or a region of one, to train on."""

    view: View
    defect: int | None
    """Its defect's index in the product, None for a normal image."""
    mask: Tensor
    """[1, H, W] bool; all False for a normal image."""
    augmentations: tuple[Augmentation, ...]
    """The augmentations that it may be drawn in."""

    @property
    def image(self) -> Path:
        """The photograph."""
        return self.view.image


class Examples:
    """A product's training images and their latents: `defects`, of all defects mixed, and `normals`."""

    def __init__(
        self,
        product: Product,
        geometry: Geometry,
        *,
        rotate: bool,
        flip: bool,
        normal_augmentations: int | None = None,
        half_precision: bool = False,
        mirrored_share: float = 0.5,
        paired_normals: bool = False,
    ) -> None:
        """List the images, and read the masks.

        Args:
            product: whose images.
            geometry: of the base at the product's image size.
            rotate: augment by rotations of multiples of 90 degrees.
            flip: augment by mirroring.
            normal_augmentations: how many augmentations each normal image is drawn in, spread evenly over the
                images, where encoding all of them takes too long; all by default, but for regions, which
                are drawn in `REGION_AUGMENTATIONS` at most.
            half_precision: encode in bfloat16 on a CPU that computes it natively.
            mirrored_share: of the images that are drawn.
            paired_normals: list no more normals than defect images, the first ones.
        """
        size = product.preprocessing.size
        self.product = product
        self.geometry = geometry
        self.augmentations = augmentations(rotate, flip)
        few = None
        if product.regions is not None:
            few = REGION_AUGMENTATIONS
            normal_augmentations = min(few, normal_augmentations or few)
        defects: list[Example] = []
        for index, defect in enumerate(product.defects):
            for pair in defect.train:
                marking = product.marking(pair)
                for view in product.pair_views(pair):
                    mask = torch.from_numpy(product.seen_mask(marking, view.region))[None]
                    defects.append(Example(view, index, mask, self._some(len(defects), few)))
        self.defects = tuple(defects)
        empty = torch.zeros(1, size, size, dtype=torch.bool)
        pairs = sum(len(defect.train) for defect in product.defects)
        used = product.normals[:pairs] if paired_normals else product.normals
        views = tuple(view for path in used for view in product.normal_views(path))
        self.normals = tuple(
            Example(view, None, empty, self._some(index, normal_augmentations))
            for index, view in enumerate(views)
        )
        self._mirrored_share = mirrored_share
        self._half_precision = half_precision
        self._vae: Any = None
        self._moments: dict[tuple[View, Augmentation], Tensor] = {}  # [2, C, h, w]

    def use(self, vae: Any) -> None:
        """Encode with this VAE, on the device it is on. What was encoded is kept.

        On a CPU its weights are laid out channels last, in which it encodes in two thirds of the time.
        """
        self._vae = vae.eval()
        if next(vae.parameters()).device.type == "cpu":
            vae.to(memory_format=torch.channels_last)

    def encode_all(self, *, progress: bool) -> None:
        """Encode everything that training may draw, ahead of it; each photograph is read once."""
        wanted = [(e.view, choice) for e in (*self.defects, *self.normals) for choice in e.augmentations]
        missing = [key for key in dict.fromkeys(wanted) if key not in self._moments]
        shown = track(missing, description="encoding images", disable=not progress, transient=True)
        for image, keys in groupby(shown, key=lambda key: key[0].image):
            self._encode(image, keys)

    def encode(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The posterior's mean and deviation [2, C, h, w] f32 on the CPU, unscaled, of a picture
        [size, size, 3] as the base sees it; it is not kept."""
        return self._posterior(_pixels(pixels))

    def moments(self, examples: Sequence[Example], choices: Sequence[Augmentation]) -> Tensor:
        """The posteriors' means and deviations [B, 2, C, h, w] f32 on the CPU, unscaled."""
        keys = [(example.view, choice) for example, choice in zip(examples, choices, strict=True)]
        for key in keys:
            if key not in self._moments:
                self._encode(key[0].image, [key])
        return torch.stack([self._moments[key] for key in keys])

    def latents(
        self, examples: Sequence[Example], choices: Sequence[Augmentation], generator: torch.Generator
    ) -> Tensor:
        """Latents [B, C, h, w] f32, drawn from the posteriors and *scaled*."""
        return self.drawn(self.moments(examples, choices), generator)

    def drawn(self, moments: Tensor, generator: torch.Generator) -> Tensor:
        """Latents [B, C, h, w] f32, *scaled*, drawn from posteriors [B, 2, C, h, w]."""
        mean, deviation = moments.unbind(1)
        noise = torch.randn(mean.shape, generator=generator)
        return (mean + deviation * noise) * self.geometry.scaling_factor

    def references(self) -> Tensor:
        """Unscaled posterior means [n, C, h, w] f32 of the normal images as they are, or of one region of
        each, which whole pictures then start from."""
        first = [self.product.normal_views(path)[0] for path in self.product.normals]
        normals = [Example(view, None, torch.empty(0), ()) for view in first]
        return self.moments(normals, [self.augmentations[0]] * len(normals))[:, 0].contiguous()

    def draw(
        self, pool: Sequence[Example], count: int, random: np.random.Generator
    ) -> tuple[list[Example], list[Augmentation]]:
        """Random examples of a pool, without repeating one before all were drawn, each with a random
        augmentation."""
        rounds = -(-count // len(pool))
        order = [int(index) for _ in range(rounds) for index in random.permutation(len(pool))]
        drawn = [pool[index] for index in order[:count]]
        return drawn, [self._augmentation(example, random) for example in drawn]

    def draw_by_defect(
        self, count: int, random: np.random.Generator
    ) -> tuple[list[Example], list[Augmentation]]:
        """Random defect images, of each defect as often as of the others, each with a random augmentation."""
        by_defect: dict[int | None, list[Example]] = {}
        for example in self.defects:
            by_defect.setdefault(example.defect, []).append(example)
        pools = list(by_defect.values())
        rounds = -(-count // len(pools))
        order = [pools[index] for _ in range(rounds) for index in random.permutation(len(pools))]
        drawn = [pool[int(random.integers(len(pool)))] for pool in order[:count]]
        return drawn, [self._augmentation(example, random) for example in drawn]

    def _augmentation(self, example: Example, random: np.random.Generator) -> Augmentation:
        choices = example.augmentations
        mirrored = [choice for choice in choices if choice.mirrored]
        if self._mirrored_share != 0.5 and 0 < len(mirrored) < len(choices):
            wanted = random.random() < self._mirrored_share
            choices = tuple(choice for choice in choices if choice.mirrored == wanted)
        return choices[int(random.integers(len(choices)))]

    def masks(self, examples: Sequence[Example], choices: Sequence[Augmentation]) -> Tensor:
        """Masks [B, 1, H, W] bool, augmented as the latents are."""
        return torch.stack(
            [choice.apply(example.mask) for example, choice in zip(examples, choices, strict=True)]
        )

    def _some(self, index: int, count: int | None) -> tuple[Augmentation, ...]:
        """`count` augmentations for the image of that index, evenly spaced and starting at another one each
        time; all of them for None."""
        if count is None:
            return self.augmentations
        all_of_them = len(self.augmentations)
        count = min(count, all_of_them)
        return tuple(
            self.augmentations[(index + k * all_of_them // count) % all_of_them] for k in range(count)
        )

    def _encode(self, image: Path, keys: Iterable[tuple[View, Augmentation]]) -> None:
        """Encode views of a photograph, each alone: a convolution's last bits may depend on what else is in
        the batch, and a resumed run must see what the unbroken one saw. On a CPU it is the faster way, too.
        """
        photograph = self.product.photograph(image)
        for view, choice in keys:
            seen = self.product.seen(photograph, view.region)
            self._moments[view, choice] = self._posterior(choice.apply(_pixels(seen)))

    def _posterior(self, pixels: Tensor) -> Tensor:
        """The mean and deviation [2, C, h, w] f32 on the CPU of an image [3, H, W] in -1..1."""
        parameter = next(self._vae.parameters())
        with torch.no_grad(), native_autocast(parameter.device, self._half_precision):
            posterior = self._vae.encode(pixels[None].to(parameter.device, parameter.dtype)).latent_dist
        return torch.cat([posterior.mean, posterior.std]).float().cpu()


def _pixels(image: NDArray[np.uint8]) -> Tensor:
    """An image [H, W, 3] uint8 as [3, H, W] f32 in -1..1, as the VAE takes it."""
    return torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1
