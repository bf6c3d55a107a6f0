"""The pictures that a report shows of real and of generated pairs: whole, or regions of photographs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_export.report.content import Picture
from seas_export.report.images import Pixels, fit, read_mask, read_rgb, smaller
from seas_runtime.dataset.contact_sheet import mark_box, read_rgb8, region_of
from seas_runtime.dataset.layout import is_pair
from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.photographs.reading import read_photograph
from seas_runtime.photographs.values import Values
from seas_runtime.placement.morphology import Box
from seas_runtime.placement.regions import Region
from seas_runtime.printable import printable

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.data.layouts import Pair

SHOWN, REAL = 8, 4
"""Pictures of each defect, and real ones to compare with."""
SIDE = 320
"""Pictures are shrunk to this many pixels, so that a page of large ones can still be mailed."""
PLACED_COLOUR = (255, 0, 170)
_SEED = 0  # where the regions of real pairs lie


class RealPictures:
    """Shows a product's photographs as its base saw them: whole, or a region of each.

    Regions of real pairs are of three times the longer side of their defects' boxes, between those of
    generation.
    """

    def __init__(self, product: Product) -> None:
        self._product = product

    def pair(self, pair: Pair) -> Picture:
        """A pair; UserError where it cannot be read."""
        product, name = self._product, printable(pair.image.name)
        region = product.judged_pair(pair, _SEED).region
        if region is None:
            mask = np.where(product.mask(pair), 255, 0).astype(np.uint8)
            return Picture(_fitted(product.image(pair.image)), _fitted(mask), name)
        photograph = np.asarray(product.photograph(pair.image))
        mask = np.where(np.asarray(product.marking(pair)) > 0, 255, 0).astype(np.uint8)
        return _closeup(photograph, mask, region, name)

    def normal(self, file: Path) -> Picture:
        """A normal; UserError where it cannot be read."""
        product, name = self._product, printable(file.name)
        region = product.judged_normal(file, _SEED).region
        if region is None:
            return Picture(_fitted(product.image(file)), None, name)
        return _closeup(np.asarray(product.photograph(file)), None, region, name)


class GeneratedPictures:
    """Shows the pairs of a data set.

    Args:
        values: the product's, for photographs of 16 bits.
        folders: where the photographs may lie that defects were drawn into.
    """

    def __init__(self, values: Values, folders: Sequence[Path]) -> None:
        self._values, self._folders = values, tuple(folders)
        self._photograph = lru_cache(maxsize=64)(self._find)

    def of_defect(
        self, dataset: Path, records: Sequence[Mapping[str, Any]], defect: str
    ) -> tuple[Picture, ...]:
        """The first pairs of a defect; UserError where a file of theirs cannot be read."""
        own = (record for record in records if record["defect"] == defect and is_pair(record))
        return tuple(self._picture(dataset, record) for record in islice(own, SHOWN))

    def _picture(self, dataset: Path, record: Mapping[str, Any]) -> Picture:
        files, region, tries = record["files"], region_of(record), len(record["attempts"])
        caption = f"{record['index']:06d}" + (f", try {tries}" if tries > 1 else "")
        if record.get("score") is not None:
            caption += f", score {record['score']:.2f}"
        if region is None:
            mask = read_mask(dataset / files["mask"], SIDE) if "mask" in files else None
            return Picture(read_rgb(dataset / files["image"], SIDE), mask, caption)
        image = read_rgb8(dataset / files["image"], self._values)
        mask = read_mask(dataset / files["mask"]) if "mask" in files else None
        return _closeup(image, mask, region, caption, self._before(record))

    def _before(self, record: Mapping[str, Any]) -> Pixels | None:
        """The photograph that a pair was drawn into, with the placement marked; None if it is not found."""
        found = self._photograph(str(record.get("photograph")), str(record.get("photograph_sha256")))
        if found is None:
            return None
        (height, width), small = found
        place = record["placement"]
        box = (place["top"], place["left"], place["top"] + place["height"], place["left"] + place["width"])
        return mark_box(small, _scaled(box, small.shape[0] / height, small.shape[1] / width), PLACED_COLOUR)

    def _find(self, name: str, sha256: str) -> tuple[tuple[int, int], Pixels] | None:
        """A photograph's size, and the photograph shrunk; None where no folder has it as it was."""
        for folder in self._folders:
            file = folder / Path(name).name
            try:
                if not file.is_file() or sha256_file(file) != sha256:
                    continue
                photograph = read_photograph(file)
            except (UserError, OSError):
                continue
            rgb = self._values.to_rgb8(photograph.pixels, photograph.opaque)
            return (photograph.height, photograph.width), smaller(rgb, SIDE)
        return None


def _closeup(
    image: Pixels, mask: Pixels | None, region: Region, caption: str, before: Pixels | None = None
) -> Picture:
    """A region of an image [H, W, 3] and of its mask [H, W], and the whole image with the region marked."""
    whole = smaller(image, SIDE)
    box = (region.top, region.left, region.top + region.side, region.left + region.side)
    scales = whole.shape[0] / image.shape[0], whole.shape[1] / image.shape[1]
    return Picture(
        smaller(region.cut(image), SIDE),
        None if mask is None else smaller(region.cut(mask), SIDE),
        caption,
        mark_box(whole, _scaled(box, *scales)),
        before,
    )


def _scaled(box: Box, down: float, across: float) -> Box:
    """A box of a photograph on its smaller copy: every pixel that it touches."""
    top, left, bottom, right = box
    ends = math.ceil(bottom * down), math.ceil(right * across)
    return math.floor(top * down), math.floor(left * across), *ends


def _fitted(pixels: Pixels) -> Pixels:
    """A square picture of at most SIDE pixels a side."""
    return fit(pixels, SIDE) if max(pixels.shape[:2]) > SIDE else pixels
