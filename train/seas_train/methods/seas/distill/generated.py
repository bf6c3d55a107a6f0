"""Whole pictures that the teacher made beforehand, as more latents for its student to learn on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, sha256_file
from seas_train.diffusion.examples import Examples
from seas_train.methods.contract import MadePicture
from seas_train.training.random import StepRandom

_MIDDLE = 127  # of a mask's grey values: above it is defect


class MadeLatents:
    """Latents of pictures that the teacher made.

    Args:
        pictures: which; at least one.
        share: of the images of a batch that are drawn from them, where there are some of their kind.
    """

    def __init__(self, pictures: Sequence[MadePicture], share: float) -> None:
        self._pictures, self._share = tuple(pictures), share
        self._pools: dict[int, list[tuple[MadePicture, Tensor, Tensor]]] = {}

    @cached_property
    def digest(self) -> str:
        """sha256 over the contents of all pictures and masks, by their defects."""
        parts = (
            f"{one.defect}/{sha256_file(one.image)}/{sha256_file(one.mask) if one.mask else ''}"
            for one in self._pictures
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def described(self) -> dict[str, object]:
        """Return what a student's checkpoint says of them."""
        return {"pictures": len(self._pictures), "share": self._share, "sha256": self.digest}

    def encode(self, examples: Examples, *, progress: bool) -> None:
        """Encode all as the training images are, which have been given their VAE.

        Raises:
            UserError: a picture or a mask cannot be read, or has another size than the base's.
        """
        size = examples.geometry.image_size
        self._pools.clear()
        shown = track(self._pictures, "encoding generated pictures", disable=not progress, transient=True)
        for one in shown:
            pixels = _read(one.image, "RGB", size)
            mask = np.zeros((size, size), np.uint8) if one.mask is None else _read(one.mask, "L", size)
            prompt = 0 if one.defect is None else 1 + one.defect
            found = (one, examples.encode(pixels), torch.from_numpy(mask > _MIDDLE)[None])
            self._pools.setdefault(prompt, []).append(found)

    def mix(
        self, examples: Examples, latents: Tensor, masks: Tensor, prompts: Tensor, random: StepRandom
    ) -> dict[int, str]:
        """Put latents of made pictures in the place of some of a batch; return by place whose they are.

        Args:
            examples: what they were encoded by.
            latents: [B, C, h, w] f32, scaled; changed in place.
            masks: [D, 1, H, W] bool, of the first D; changed in place.
            prompts: [B] int64, 0 for normals and 1 + i for defect i.
            random: the batch's.
        """
        taken: dict[int, str] = {}
        for place, prompt in enumerate(prompts.tolist()):
            wanted = random.numpy.random() < self._share
            if not (wanted and (pool := self._pools.get(prompt))):
                continue
            one, moments, mask = pool[int(random.numpy.integers(len(pool)))]
            latents[place] = examples.drawn(moments[None], random.torch)[0]
            if place < len(masks):
                masks[place] = mask
            taken[place] = str(one.image)
        return taken


def _read(file: Path, mode: str, size: int) -> NDArray[np.uint8]:
    """Read a picture: uint8 [size, size, 3], or [size, size] of mode L."""
    with os_errors(file, "read"), Image.open(file) as opened:
        found = np.array(opened.convert(mode))
    if found.shape[:2] != (size, size):
        raise UserError(
            f"{file}: expected a whole picture of {size} x {size} as the teacher makes them, found "
            f"{found.shape[1]} x {found.shape[0]}; make the data set with `generate --from noise`"
        )
    return found
