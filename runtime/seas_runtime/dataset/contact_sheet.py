"""One picture that shows what a dataset holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from seas_runtime.dataset.layout import is_pair, pair_paths
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.gates import neighbourhood
from seas_runtime.photographs.reading import read_photograph
from seas_runtime.photographs.values import Values
from seas_runtime.placement.morphology import Box
from seas_runtime.placement.regions import Region

COLUMNS = 8
TILE = 128
GAP = 4
LABEL = 16
OUTLINE = (255, 32, 32)
_PAPER = (255, 255, 255)
_INK = (32, 32, 32)

UInt8Array = npt.NDArray[np.uint8]


def contact_sheet(
    out: Path,
    defects: Sequence[str],
    records: Iterable[dict[str, Any]],
    labels: Mapping[str, str],
    values: Values,
) -> Image.Image:
    """Draw the first pairs of each of `defects`: images, and below them the same with masks outlined.

    Of a placed pair the image is the whole photograph with the region marked, and below it the region.
    `values` are the product's, for photographs of 16 bits. `labels` are written instead of the defects'
    names. Reads the files of the dataset in folder `out` that `records` name; UserError where one cannot be.
    """
    shown: dict[str, list[tuple[dict[str, str], Region | None]]] = {defect: [] for defect in defects}
    for record in records:
        if is_pair(record) and len(shown[record["defect"]]) < COLUMNS:
            files = pair_paths(record["defect"], record["index"])
            shown[record["defect"]].append((files, region_of(record)))
    heights = [LABEL + (TILE + GAP) * (1 if defect == GOOD else 2) for defect in defects]
    sheet = Image.new("RGB", (GAP + COLUMNS * (TILE + GAP), GAP + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top, font = GAP, ImageFont.load_default()
    for defect, height in zip(defects, heights, strict=True):
        label = labels.get(defect, defect)
        if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow's bitmap font has no more
            label = label.encode("ascii", "replace").decode()
        text = label if shown[defect] else f"{label}: no pair passed the gates"
        draw.text((GAP, top), text, fill=_INK, font=font)
        for column, (files, region) in enumerate(shown[defect]):
            left = GAP + column * (TILE + GAP)
            image = read_rgb8(out / files["image"], values)
            whole = image if region is None else mark_region(image, region)
            sheet.paste(_tile(whole), (left, top + LABEL))
            if "mask" in files:
                mask = read_rgb8(out / files["mask"], values)[:, :, 0] > 0
                if region is not None:
                    image, mask = region.cut(image), region.cut(mask)
                sheet.paste(_tile(outline_mask(image, mask)), (left, top + LABEL + TILE + GAP))
        top += height
    return sheet


def region_of(record: Mapping[str, Any]) -> Region | None:
    """Return the region that a record says was drawn anew; None of a whole picture."""
    return Region(*record["region"]) if "region" in record else None


def mark_region(image: UInt8Array, region: Region) -> UInt8Array:
    """Return `image` [H, W, 3] with the region's edge drawn, wide enough for a tile."""
    return mark_box(image, (region.top, region.left, region.top + region.side, region.left + region.side))


def mark_box(image: UInt8Array, box: Box, colour: tuple[int, int, int] = OUTLINE) -> UInt8Array:
    """Return `image` [H, W, 3] with an edge around a box (top, left, bottom, right), as a tile needs."""
    height, width = image.shape[:2]
    edge = max(1, round(max(height, width) / TILE))
    inside = np.zeros((height, width), np.bool_)
    inside[_rows(box, edge)] = True
    inside[_rows(box, 0)] = False
    result: UInt8Array = image.copy()
    result[inside] = colour
    return result


def _rows(box: Box, margin: int) -> tuple[slice, slice]:
    """A box grown by a margin, as far as it lies in a picture, as rows and columns."""
    first = [max(0, place - margin) for place in box[:2]]
    top, left = (slice(low, max(low, end + margin)) for low, end in zip(first, box[2:], strict=True))
    return top, left


def outline_mask(
    image: UInt8Array,
    mask: npt.NDArray[np.bool_],
    colour: tuple[int, int, int] = OUTLINE,
    tint: float = 0.3,
) -> UInt8Array:
    """Return `image` [H, W, 3] with the mask [H, W] tinted and its edge drawn, wide enough for a tile."""
    result = image.astype(np.float32)
    result[mask] = (1 - tint) * result[mask] + tint * np.array(colour, dtype=np.float32)
    inner = mask
    for _ in range(max(1, round(max(mask.shape) / TILE))):
        inner = neighbourhood(inner, np.logical_and)
    result[mask & ~inner] = colour
    return np.rint(result).astype(np.uint8)


def read_rgb8(file: Path, values: Values) -> UInt8Array:
    """Return a data set's picture as 8-bit RGB [H, W, 3]; UserError where it cannot be read."""
    try:
        with Image.open(file) as image:
            if not image.mode.startswith("I") and image.mode not in ("LA", "RGBA"):
                plain: UInt8Array = np.asarray(image.convert("RGB"))
                return plain
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error}; remove it and generate again") from error
    photograph = read_photograph(file)
    made: UInt8Array = values.to_rgb8(photograph.pixels, photograph.opaque)
    return made


def _tile(image: UInt8Array) -> Image.Image:
    """Return an image scaled into a tile, its aspect ratio kept."""
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
