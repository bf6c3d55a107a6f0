"""The picture of a proof: photographs on which the pairs helped most, and on which they did harm."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seas_export.proof.measures.counts import Counts
from seas_export.proof.measures.maps import probability_of
from seas_runtime.dataset.contact_sheet import outline_mask
from seas_runtime.files import atomic_write_bytes
from seas_runtime.manifest.types import GOOD

SHOWN = 4
"""Photographs of either kind."""
CELL, GAP, HEAD, LABEL = 170, 6, 22, 150
_REAL = (0, 200, 80)
_INK, _PAPER = (15, 23, 42), (255, 255, 255)

UInt8Array = NDArray[np.uint8]


def telling(
    ours: Sequence[Counts], theirs: Sequence[Counts], shown: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the photographs on which `ours` is most above `theirs`, and most below.

    By the IoU of a photograph with a defect, mean over seeds; of a normal, by the false regions it has less.
    """
    gains = np.zeros(len(shown))
    for index, name in enumerate(shown):
        values = []
        for side in (ours, theirs):
            if name == GOOD:
                values.append(-np.mean([min(int(one.false_regions[index]), 5) / 5 for one in side]))
            else:
                values.append(np.mean([one.overlap[index] / max(1, one.either[index]) for one in side]))
        gains[index] = values[0] - values[1]
    order = np.argsort(-gains, kind="stable")
    best = [int(index) for index in order[:SHOWN] if gains[index] > 0]
    worst = [int(index) for index in order[::-1][:SHOWN] if gains[index] < 0]
    return best, worst


def draw(
    file: Path,
    photographs: Mapping[int, tuple[UInt8Array, NDArray[np.bool_], str]],
    maps: Mapping[str, Mapping[int, Sequence[UInt8Array]]],
    best: Sequence[int],
    worst: Sequence[int],
) -> None:
    """Draw a row for each photograph: itself with the real outline, then the map of each set, mean of seeds.

    photographs: image [H, W, 3], mask [H, W] and a caption by index; maps: levels by set and index.
    """
    rows = [*(("helped", index) for index in best), *(("harmed", index) for index in worst)]
    width = LABEL + (1 + len(maps)) * (CELL + GAP) + GAP
    picture = Image.new("RGB", (width, HEAD + max(1, len(rows)) * (CELL + GAP) + GAP), _PAPER)
    pen, font = ImageDraw.Draw(picture), _font()
    for column, name in enumerate(("photograph", *maps)):
        pen.text((LABEL + column * (CELL + GAP), 4), name[:26], fill=_INK, font=font)
    if not rows:
        pen.text((GAP, HEAD), "no photograph on which the sets differ", fill=_INK, font=font)
    for row, (kind, index) in enumerate(rows):
        top = HEAD + row * (CELL + GAP)
        image, mask, caption = photographs[index]
        pen.multiline_text((GAP, top + 4), f"{kind}\n{caption}", fill=_INK, font=font)
        marked = outline_mask(image, mask, _REAL, 0) if mask.any() else image
        picture.paste(_framed(marked), (LABEL, top))
        for column, found in enumerate(maps.values()):
            mean = np.mean([probability_of(levels) for levels in found[index]], axis=0)
            shown = np.rint(255 * mean).astype(np.uint8)
            picture.paste(_framed(shown), (LABEL + (1 + column) * (CELL + GAP), top))
    stream = io.BytesIO()
    picture.save(stream, "png", optimize=True)
    atomic_write_bytes(file, stream.getvalue())


def _framed(pixels: UInt8Array) -> Image.Image:
    """A picture that fits into a cell, in its own shape."""
    height, width = pixels.shape[:2]
    scale = CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(pixels).convert("RGB").resize(size, Image.Resampling.BILINEAR)


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(12)
    except TypeError:  # before Pillow 10.1
        return ImageFont.load_default()
