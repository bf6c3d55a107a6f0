"""One picture of placements: each photograph with the outline of its mask, and below it a close-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from seas_runtime.dataset.contact_sheet import outline_mask
from seas_runtime.placement.regions import SMALLEST, Placed, Region, resize_mask, resize_pixels, scale_mask

COLUMNS, TILE, GAP, LABEL = 6, 224, 4, 18
CLOSE = 2.5
"""Side of a close-up by the mask's longer one."""
_VISIBLE = 0.05  # a pixel of a tile that a mask covers by so much is drawn, or the smallest would not be seen
_PAPER, _INK = (255, 255, 255), (32, 32, 32)

UInt8Array = npt.NDArray[np.uint8]
Tiles = tuple[Image.Image, Image.Image]
"""A photograph, and its close-up."""


def make_tiles(photograph: UInt8Array, placed: Placed) -> Tiles:
    """Return a photograph [H, W, 3] with a placement outlined, TILE pixels on its longer side, and a
    close-up."""
    height, width = photograph.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    picture = np.asarray(Image.fromarray(photograph).resize((size[1], size[0]), method))
    whole = outline_mask(picture, scale_mask(placed.full((height, width)), size, _VISIBLE), tint=0.2)
    top, left, bottom, right = placed.box
    longest = max(bottom - top, right - left)
    side = min(max(SMALLEST, round(CLOSE * longest)), max(longest, min(height, width)))
    corner = [
        min(max((low + high - side) // 2, 0), max(length - side, 0))
        for low, high, length in ((left, right, width), (top, bottom, height))
    ]
    region = Region(corner[0], corner[1], side)
    window = resize_pixels(region.cut(photograph), TILE)
    close = outline_mask(window, resize_mask(region.cut_mask(placed), TILE), tint=0)
    return Image.fromarray(whole), Image.fromarray(close)


def place_sheet(tiles: Mapping[str, Sequence[Tiles]]) -> Image.Image:
    """Draw the placements of each defect, by its label: rows of photographs, and of close-ups below them."""
    rows = sum(-(-len(found) // COLUMNS) for found in tiles.values())
    size = (GAP + COLUMNS * (TILE + GAP), GAP + LABEL * len(tiles) + rows * 2 * (TILE + GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(), GAP
    for label, found in tiles.items():
        if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow's bitmap font has no more
            label = label.encode("ascii", "replace").decode()
        draw.text((GAP, top), label, fill=_INK, font=font)
        top += LABEL
        for start in range(0, len(found), COLUMNS):
            for column, pair in enumerate(found[start : start + COLUMNS]):
                for line, picture in enumerate(pair):
                    sheet.paste(picture, (GAP + column * (TILE + GAP), top + line * (TILE + GAP)))
            top += 2 * (TILE + GAP)
    return sheet
