"""One picture that shows what a dataset holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from seas_runtime.dataset.layout import pair_paths
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.gates import neighbourhood

COLUMNS = 8
TILE = 128
GAP = 4
LABEL = 16
OUTLINE = (255, 32, 32)
_PAPER = (255, 255, 255)
_INK = (32, 32, 32)

UInt8Array = npt.NDArray[np.uint8]


def contact_sheet(
    out: Path, defects: Sequence[str], records: Iterable[dict[str, Any]], labels: Mapping[str, str]
) -> Image.Image:
    """Draw the first pairs of each of `defects`: images, and below them the same with masks outlined.

    `labels` are written instead of the defects' names. Reads the files of the dataset in folder `out` that
    `records` name; UserError if one cannot be read.
    """
    shown: dict[str, list[dict[str, str]]] = {defect: [] for defect in defects}
    for record in records:
        if record["accepted"] and not record.get("deleted") and len(shown[record["defect"]]) < COLUMNS:
            shown[record["defect"]].append(pair_paths(record["defect"], record["index"]))
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
        for column, files in enumerate(shown[defect]):
            left = GAP + column * (TILE + GAP)
            image = _read(out / files["image"])
            sheet.paste(_tile(image), (left, top + LABEL))
            if "mask" in files:
                overlay = outline_mask(image, _read(out / files["mask"])[:, :, 0] > 0)
                sheet.paste(_tile(overlay), (left, top + LABEL + TILE + GAP))
        top += height
    return sheet


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


def _read(file: Path) -> UInt8Array:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error}; remove it and generate again") from error


def _tile(image: UInt8Array) -> Image.Image:
    """Return an image scaled into a tile, its aspect ratio kept."""
    height, width = image.shape[:2]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
