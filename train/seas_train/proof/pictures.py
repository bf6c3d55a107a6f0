"""The pictures that segmenters are trained and tested on: read when asked for, kept while there is room."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, sha256_file
from seas_train.data.images import Preprocessing
from seas_train.data.images.fit import read_pixels
from seas_train.data.masks.read import read_foreground

KEPT = 1 << 30
"""Bytes of pictures that stay in memory, a process."""
_MIDDLE = 127  # of a mask that was scaled


@dataclass(frozen=True)
class Sample:
    """A picture and, of a defect, its mask."""

    image: Path
    mask: Path | None = None
    defect: str = "good"
    scale: float = 1.0
    """Of the picture's own size: what segmenters see of it."""
    ready: bool = False
    """Whether its values are those that segmenters see, of 8 bits; else they are read as a photograph's."""
    weak: bool = False
    """Whether its mask is a box around the defect rather than its outline."""

    def content(self) -> str:
        """Return the hash of what is seen: both files and the scale."""
        parts = [
            sha256_file(self.image),
            sha256_file(self.mask) if self.mask else "",
            f"{self.scale:.6f}",
            str(self.ready),
            *(["weak"] if self.weak else []),
        ]
        return hashlib.sha256("/".join([*parts, self.defect]).encode()).hexdigest()


@dataclass(eq=False)
class Pictures:
    """Reads samples as a product's photographs are read."""

    preprocessing: Preprocessing
    room: int = KEPT
    _kept: OrderedDict[Sample, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = field(
        default_factory=OrderedDict
    )
    _bytes: int = 0

    def read(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return a picture [h, w, 3] and its mask [h, w] at the sample's scale; UserError without one."""
        if (found := self._kept.get(sample)) is not None:
            self._kept.move_to_end(sample)
            return found
        made = self._scaled(sample)
        self._kept[sample] = made
        self._bytes += sum(array.nbytes for array in made)
        while self._bytes > self.room and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= sum(array.nbytes for array in old)
        return made

    def marking(self, sample: Sample) -> NDArray[np.bool_]:
        """Return a sample's mask [H, W] at its picture's own size; all False for a normal."""
        if sample.mask is None:
            width, height = self._picture(sample).size
            return np.zeros((height, width), np.bool_)
        return np.asarray(self._foreground(sample, sample.mask)) > 0

    def _picture(self, sample: Sample) -> Image.Image:
        if not sample.ready:
            return read_pixels(sample.image, self.preprocessing)
        with os_errors(sample.image, "read"), Image.open(sample.image) as opened:
            made: Image.Image = opened.convert("RGB")
        return made

    def _foreground(self, sample: Sample, mask: Path) -> Image.Image:
        if not sample.ready:
            return read_foreground(mask, self.preprocessing, image=sample.image)
        with os_errors(mask, "read"), Image.open(mask) as opened:
            made: Image.Image = opened.convert("L").point([255 * (value > _MIDDLE) for value in range(256)])
        return made

    def _scaled(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        picture = self._picture(sample)
        width, height = (max(1, round(side * sample.scale)) for side in picture.size)
        size = width, height
        mask = None
        if sample.mask is not None:
            mask = self._foreground(sample, sample.mask)
            if mask.size != picture.size:
                raise UserError(f"{sample.mask}: expected the size of its picture, {picture.size}")
        if size != picture.size:
            method = Image.Resampling.BOX if sample.scale < 1 else Image.Resampling.BICUBIC
            picture = picture.resize(size, method)
            if mask is not None:
                method = Image.Resampling.BOX if sample.scale < 1 else Image.Resampling.BILINEAR
                mask = mask.resize(size, method)
        pixels = np.asarray(picture, np.uint8)
        marked = np.zeros(pixels.shape[:2], np.bool_) if mask is None else np.asarray(mask) > _MIDDLE
        return pixels, marked
