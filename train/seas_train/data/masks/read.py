"""Reads masks as their photographs are read: turned, scaled and fitted alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.errors import UserError
from seas_runtime.photographs.decode import Opened, open_image
from seas_runtime.photographs.quiet import quiet_decoders
from seas_train.data.images.fit import fit_foreground
from seas_train.data.images.preprocessing import Masks, Preprocessing
from seas_train.data.masks.grey import grey_mask
from seas_train.data.masks.levels import Reading, decide

Size = tuple[int, int]
ASPECT = 0.05  # the most that aspects may differ by, however small the mask


@dataclass(frozen=True)
class MaskFile:
    """A mask, decoded and decided on."""

    opened: Opened
    reading: Reading
    foreground: Image.Image
    """Mode L: 255 on the defect, else 0; upright by the mask's own EXIF."""

    @property
    def size(self) -> Size:
        """Width and height of the upright mask."""
        return self.foreground.size

    def on(self, photograph: Opened) -> Image.Image | None:
        """Return the foreground with the pixels of its upright photograph; None where the sides do not agree.

        A mask drawn on the stored pixels of a photograph that EXIF turns is turned along; sizes tell. One of
        another size but the same aspect, to a pixel, is scaled by nearest neighbour.
        """
        return on_photograph(self.foreground, photograph)


def on_photograph(made: Image.Image, photograph: Opened) -> Image.Image | None:
    """Return a mask with the pixels of its upright photograph; see `MaskFile.on`."""
    upright, stored = photograph.size, photograph.stored_size
    if made.size == upright:
        return made
    if made.size == stored or (same_aspect(made.size, stored) and not same_aspect(made.size, upright)):
        made = photograph.upright(made)
    if made.size == upright or not same_aspect(made.size, upright):
        return made if made.size == upright else None
    return made.resize(upright, Image.Resampling.NEAREST)


def open_mask(path: Path, wanted: Masks = Masks.AUTO) -> MaskFile:
    """Decode a mask, and decide how it is read; UnreadableImage says why it cannot be."""
    opened = open_image(path)
    mask = grey_mask(opened)
    reading = decide(mask, wanted)
    foreground = reading.foreground(mask.levels).astype(np.uint8) * np.uint8(255)
    return MaskFile(opened, reading, opened.upright(Image.fromarray(foreground)))


def read_mask(path: Path, preprocessing: Preprocessing, image: Path | None = None) -> NDArray[np.bool_]:
    """Read a mask, fitted as its photograph is: bool [size, size], True on the defect.

    `image` is the mask's photograph, by which it is turned and scaled. UserError when a file cannot be read
    or the sides do not agree.
    """
    return fit_foreground(read_foreground(path, preprocessing, image), preprocessing)


def read_foreground(path: Path, preprocessing: Preprocessing, image: Path | None = None) -> Image.Image:
    """Read a mask on the pixels of its photograph: mode L, 255 on the defect, else 0; see `read_mask`."""
    with quiet_decoders():
        mask = open_mask(path, preprocessing.masks)
        foreground: Image.Image | None = mask.foreground
        if image is not None:
            photograph = open_image(image, thumbnail=True)
            foreground = mask.on(photograph)
        if foreground is None:
            raise UserError(f"{path}: expected the size of {image}, {photograph.size}, found {mask.size}")
        return foreground


def same_aspect(size: Size, other: Size) -> bool:
    """Whether one size is the other one scaled, with its sides rounded or a row or column short."""
    (width, height), (other_width, other_height) = size, other
    if abs(width * other_height - height * other_width) > ASPECT * max(width * other_height, 1):
        return False
    return any(
        min(abs(h - other_h * w / other_w), abs(w - other_w * h / other_h)) <= 1
        for w, h, other_w, other_h in (
            (width, height, other_width, other_height),
            (other_width, other_height, width, height),
        )
    )
