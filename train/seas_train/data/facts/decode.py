"""Decodes every file of a product once, and notes the facts that the check needs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.photographs.decode import whole_png
from seas_train.data.images import (
    Fit,
    Opened,
    Preprocessing,
    UnreadableImage,
    crop_box,
    open_image,
    quiet_decoders,
    rgb_pixels,
)
from seas_train.data.images.fit import fit_foreground, fitted_scale
from seas_train.data.layouts import Pair
from seas_train.data.masks import MaskFile, Reading, open_mask
from seas_train.data.regions.parts import Part, parts_of

THREADS = min(4, os.cpu_count() or 1)
DECODED = 200  # normals: three times those that train by default, and enough for a product's levels
SAMPLE = 160  # pixels a side, evenly spaced: what a picture's levels are judged by
POOLED = 40  # pixels a side of what every picture adds to the product's levels
SPAN = (0.5, 99.5)  # percentiles: so much of a picture is what it "uses"
PLAIN = Preprocessing(1)  # for RGB as it is, without a window
NO_READING = (0, 65535)  # where a camera has none; left out of percentiles

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Levels:
    """The values of a photograph as stored."""

    wide: bool
    """More than 8 bits a channel."""
    least: float
    most: float
    low: float
    """SPAN's percentiles."""
    high: float
    pooled: NDArray[np.generic]
    """A few of the values, for the percentiles of the product; none where the picture is not wide."""


@dataclass(frozen=True)
class ImageFacts:
    """Facts of a decoded photograph."""

    path: Path
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height of the upright picture."""
    depth: str = ""
    """Such as `16-bit colour`."""
    levels: Levels | None = None
    channels: tuple[tuple[float, float], ...] = ()
    """The lowest and highest value of each channel, after conversion where the picture is not wide."""
    pages: int = 1
    broken: UnreadableImage | None = None


@dataclass(frozen=True)
class FittedMask:
    """What a fit makes of a mask. Counts are of defect pixels."""

    cropped: int
    """In the part that fitting uses, of the mask as scaled to its photograph."""
    fitted: int
    """After fitting."""
    latent: int
    """At the points of the latent's grid."""
    area: float
    """Of the defect after fitting, in pixels, from its size in the file."""


@dataclass(frozen=True)
class MaskFacts:
    """Facts of a decoded mask. Sizes are (width, height) of the upright pictures."""

    path: Path
    sha256: str = ""
    size: tuple[int, int] = (0, 0)
    image_size: tuple[int, int] = (0, 0)
    reading: Reading | None = None
    matched: bool = False
    """Whether the mask has the photograph's aspect."""
    foreground: int = 0
    """Defect pixels, of the mask as scaled to its photograph."""
    fits: Mapping[Fit, FittedMask] = field(default_factory=dict)
    """By the fits that were asked for."""
    parts: tuple[Part, ...] = ()
    """In pixels of the photograph."""
    rotation_unclear: bool = False
    broken: UnreadableImage | None = None


def decode_all(
    normals: Sequence[Path],
    pairs: Sequence[Pair],
    preprocessing: Preprocessing,
    fits: Sequence[Fit],
    latent_factor: int,
    decoded: int = DECODED,
) -> tuple[dict[Path, ImageFacts], dict[Path, MaskFacts]]:
    """Decode in a few threads (Pillow's decoders release the interpreter lock).

    `preprocessing` has no window yet: it follows from these facts, as does which of `fits` is used. Normals
    beyond the first `decoded` may be checked by their checksums alone.
    """
    with quiet_decoders(), ThreadPoolExecutor(THREADS) as pool:
        images = {facts.path: facts for facts in _ahead(pool, _look_at_image, normals[:decoded])}
        rest = _ahead(pool, _look_at_spare_image, normals[decoded:])
        images.update((facts.path, facts) for facts in rest)
        masks = {}
        look = lambda pair: _look_at_pair(pair, preprocessing, fits, latent_factor)  # noqa: E731
        for image_facts, mask_facts in _ahead(pool, look, pairs):
            images[image_facts.path] = image_facts
            masks[mask_facts.path] = mask_facts
    return images, masks


def _ahead(pool: ThreadPoolExecutor, look: Callable[[T], S], items: Iterable[T]) -> Iterator[S]:
    """Map in order, in chunks: a pool's own map would queue everything at once."""
    rest = iter(items)
    while chunk := list(islice(rest, 16 * THREADS)):
        yield from pool.map(look, chunk)


def _look_at_image(path: Path) -> ImageFacts:
    return _image(path)[0]


def _look_at_spare_image(path: Path) -> ImageFacts:
    """Facts of a normal picture of which there are plenty: a PNG's checksums tell whether it is whole."""
    try:
        found = whole_png(path)
    except UnreadableImage as error:
        return ImageFacts(path, broken=error)
    return _look_at_image(path) if found is None else ImageFacts(path, found.sha256, found.size, found.depth)


def _image(path: Path) -> tuple[ImageFacts, Opened | None]:
    """Facts of a photograph, and the photograph itself; whatever a decoder raises is the file's own fault."""
    try:
        opened = open_image(path, thumbnail=True)
        facts = image_facts(opened)
        if opened.is_thumbnail and facts.channels and all(low == high for low, high in facts.channels):
            facts = image_facts(open_image(path))  # a speck is lost in a thumbnail
        return facts, opened
    except UnreadableImage as error:
        return ImageFacts(path, broken=error), None
    except MemoryError:
        return ImageFacts(path, broken=UnreadableImage(path, "does not fit in memory", too_large=True)), None
    except Exception as error:
        reason = f"cannot be converted ({type(error).__name__}: {error})"
        return ImageFacts(path, broken=UnreadableImage(path, reason)), None


def image_facts(opened: Opened) -> ImageFacts:
    """Facts of a photograph: its levels as stored where it has more than 8 bits, else those of its RGB."""
    if opened.is_wide:
        values = opened.wide_values()
        values = values[..., :3] if values.ndim == 3 else values[..., None]
        channels = tuple((float(v.min()), float(v.max())) for v in np.moveaxis(values, -1, 0))
        sample = values[_every(values.shape[0], SAMPLE), _every(values.shape[1], SAMPLE)]
    else:
        image = rgb_pixels(opened, PLAIN)
        sample = np.asarray(image.resize(_smaller(image.size), Image.Resampling.NEAREST))
        channels = tuple((float(v.min()), float(v.max())) for v in np.moveaxis(sample, -1, 0))
        if all(low == high for low, high in channels):  # the sample may have missed what there is
            extrema = image.getextrema()
            channels = tuple((float(low), float(high)) for low, high in extrema)  # type: ignore[misc]
    read: NDArray[Any] = sample.ravel()
    if opened.is_wide:
        told = read[(read != NO_READING[0]) & (read != NO_READING[1])]
        read = told if told.size else read
    low, high = (float(value) for value in np.percentile(read, SPAN))
    pooled = read[:: max(1, read.size // POOLED**2)] if opened.is_wide else read[:0]
    levels = Levels(
        opened.is_wide, min(c[0] for c in channels), max(c[1] for c in channels), low, high, pooled.copy()
    )
    return ImageFacts(opened.path, opened.sha256, opened.size, opened.depth, levels, channels, opened.pages)


def _every(length: int, wanted: int) -> slice:
    return slice(None, None, max(1, length // wanted))


def _smaller(size: tuple[int, int]) -> tuple[int, int]:
    return min(size[0], SAMPLE), min(size[1], SAMPLE)


def _look_at_pair(
    pair: Pair, preprocessing: Preprocessing, fits: Sequence[Fit], latent_factor: int
) -> tuple[ImageFacts, MaskFacts]:
    facts, photograph = _image(pair.image)
    try:
        mask = open_mask(pair.mask, preprocessing.masks)
        if photograph is None:
            return facts, MaskFacts(pair.mask, mask.opened.sha256, mask.size, mask.size, mask.reading)
        return facts, _mask_facts(mask, photograph, preprocessing, fits, latent_factor)
    except UnreadableImage as error:
        return facts, MaskFacts(pair.mask, broken=error)
    except MemoryError:
        reason = UnreadableImage(pair.mask, "does not fit in memory", too_large=True)
        return facts, MaskFacts(pair.mask, broken=reason)
    except Exception as error:
        reason = UnreadableImage(pair.mask, f"cannot be converted ({type(error).__name__}: {error})")
        return facts, MaskFacts(pair.mask, broken=reason)


def _mask_facts(
    mask: MaskFile, photograph: Opened, preprocessing: Preprocessing, fits: Sequence[Fit], latent_factor: int
) -> MaskFacts:
    # A turn that keeps the size leaves open on which pixels the mask was drawn.
    keeps_size = photograph.stored_size == photograph.size
    unclear = photograph.orientation > 1 and mask.opened.orientation == 1 and keeps_size
    known = MaskFacts(mask.opened.path, mask.opened.sha256, mask.size, photograph.size, mask.reading)
    foreground = mask.on(photograph)
    if foreground is None:
        return known
    values = np.asarray(foreground) > 0  # [height, width]
    return replace(
        known,
        matched=True,
        foreground=int(values.sum()),
        fits={fit: _fit(foreground, values, replace(preprocessing, fit=fit), latent_factor) for fit in fits},
        parts=parts_of(values),
        rotation_unclear=unclear,
    )


def _fit(
    foreground: Image.Image, values: NDArray[np.bool_], preprocessing: Preprocessing, latent_factor: int
) -> FittedMask:
    left, top, right, bottom = crop_box(foreground.size, preprocessing.fit)
    inside = int(values[int(top) : math.ceil(bottom), int(left) : math.ceil(right)].sum())
    fitted = fit_foreground(foreground, preprocessing)  # [size, size] bool
    across, down = fitted_scale(foreground.size, preprocessing)
    grid = slice(latent_factor // 2, None, latent_factor)
    return FittedMask(inside, int(fitted.sum()), int(fitted[grid, grid].sum()), inside * across * down)
