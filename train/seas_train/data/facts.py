"""Decodes every file of a product once, and notes the facts that the check needs."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from seas_train.data.images import (
    FOREGROUND,
    Opened,
    Preprocessing,
    UnreadableImage,
    fit_mask,
    mask_values,
    match_mask,
    open_image,
    source_box,
    wide_values,
)
from seas_train.data.layouts import Pair

THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class ImageFacts:
    """Facts of a decoded photograph."""

    path: Path
    sha256: str = ""
    peak: int = 0
    """The highest value of a 16-bit file, 0 for others."""
    blank: bool = False
    pages: int = 1
    broken: UnreadableImage | None = None


@dataclass(frozen=True)
class MaskFacts:
    """Facts of a decoded mask. Sizes are (width, height) of the upright pictures; counts are of pixels, first
    of those above 127, then of those that are not 0."""

    path: Path
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    image_size: tuple[int, int] = (0, 0)
    brightest: int = 0
    foreground: tuple[int, int] = (0, 0)
    """In the file."""
    cropped: tuple[int, int] = (0, 0)
    """In the part that fitting uses."""
    fitted: tuple[int, int] = (0, 0)
    """After fitting."""
    latent: tuple[int, int] = (0, 0)
    """At the points of the latent's grid."""
    rotation_unclear: bool = False
    broken: UnreadableImage | None = None


def decode_all(
    normals: Sequence[Path], pairs: Sequence[Pair], preprocessing: Preprocessing, latent_factor: int
) -> tuple[dict[Path, ImageFacts], dict[Path, MaskFacts]]:
    """Decode in a few threads (Pillow's decoders release the interpreter lock)."""
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow warns on odd metadata; what matters is in the report
        normal_facts = pool.map(_look_at_normal, normals)
        pair_facts = pool.map(lambda pair: _look_at_pair(pair, preprocessing, latent_factor), pairs)
        images = {facts.path: facts for facts in normal_facts}
        masks = {}
        for image_facts, mask_facts in pair_facts:
            images[image_facts.path] = image_facts
            masks[mask_facts.path] = mask_facts
    return images, masks


def _look_at_normal(path: Path) -> ImageFacts:
    try:
        return _image_facts(open_image(path))
    except UnreadableImage as error:
        return ImageFacts(path, broken=error)


def _image_facts(opened: Opened) -> ImageFacts:
    peak = int(wide_values(opened).max()) if opened.is_wide else 0
    extrema = opened.stored.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    blank = all(low == high for low, high in bands)
    return ImageFacts(opened.path, opened.sha256, peak, blank, opened.pages)


def _look_at_pair(
    pair: Pair, preprocessing: Preprocessing, latent_factor: int
) -> tuple[ImageFacts, MaskFacts]:
    photograph: Opened | None = None
    try:
        photograph = open_image(pair.image)
        image_facts = _image_facts(photograph)
    except UnreadableImage as error:
        photograph, image_facts = None, ImageFacts(pair.image, broken=error)
    try:
        opened = open_image(pair.mask)
        mask = mask_values(opened)
    except UnreadableImage as error:
        return image_facts, MaskFacts(pair.mask, broken=error)
    if photograph is None:
        return image_facts, MaskFacts(pair.mask, opened.sha256, mask.size, mask.size)
    # A turn that keeps the size leaves open on which pixels the mask was drawn.
    unclear = (
        photograph.orientation > 1 and opened.orientation == 1 and photograph.stored.size == photograph.size
    )
    facts = _mask_facts(match_mask(mask, photograph), opened, photograph, preprocessing, latent_factor)
    return image_facts, replace(facts, rotation_unclear=unclear)


def _mask_facts(
    mask: Image.Image, opened: Opened, photograph: Opened, preprocessing: Preprocessing, latent_factor: int
) -> MaskFacts:
    values = np.asarray(mask)  # [height, width] uint8
    left, top, right, bottom = source_box(mask.size, preprocessing)
    inside = values[int(top) : math.ceil(bottom), int(left) : math.ceil(right)]
    fitted = [fit_mask(mask, preprocessing, label_map) for label_map in (False, True)]  # [size, size] bool
    grid = slice(latent_factor // 2, None, latent_factor)
    return MaskFacts(
        path=opened.path,
        sha256=opened.sha256,
        size=mask.size,
        image_size=photograph.size,
        brightest=int(values.max()),
        foreground=(int((values > FOREGROUND).sum()), int((values > 0).sum())),
        cropped=(int((inside > FOREGROUND).sum()), int((inside > 0).sum())),
        fitted=(int(fitted[0].sum()), int(fitted[1].sum())),
        latent=(int(fitted[0][grid, grid].sum()), int(fitted[1][grid, grid].sum())),
    )
