"""One picture of what a build made: real pairs, generated pairs, masks and overlays in a labelled grid."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seas_export.report.content import Content, Picture
from seas_export.report.images import Pixels, fit, overlay
from seas_export.verdict import State
from seas_runtime.files import atomic_write_bytes

CELL, GAP, MARGIN, HEADER, LABEL = 136, 6, 22, 30, 128
# One real pair, then this many generated ones.
GENERATED = 5
_INK, _SOFT, _PAPER = (15, 23, 42), (100, 116, 139), (255, 255, 255)
_ROW_GAP = 16
_INSET = 38
BEFORE, WHOLE, IMAGE, MASK = "placement", "photograph", "region", "mask"
"""What a column shows."""


def write_overview(content: Content, file: Path) -> None:
    """Draw `content` as one PNG: per defect images over overlays, with the mask in a corner; then normals.

    Of placed pairs images and overlays are of the region; above them stand the photograph with the placement
    and what became of it.
    """
    stream = io.BytesIO()
    overview(content).save(stream, "png", optimize=True)
    atomic_write_bytes(file, stream.getvalue())


def overview(content: Content) -> Image.Image:
    """The picture; see `write_overview`."""
    bad = {verdict.defect for verdict in content.verdicts if verdict.state is State.NOT_USABLE}
    rows = [
        _Row(name + " (not usable)" * (name in bad), defect.real[:1], defect.generated[:GENERATED])
        for defect in content.defects
        for name in (defect.name,)
    ]
    if content.generated_normals:
        rows.append(_Row("good", content.real_normals[:1], content.generated_normals[:GENERATED]))
    width = 2 * MARGIN + LABEL + (1 + GENERATED) * (CELL + GAP) + 3 * GAP
    height = 2 * MARGIN + HEADER + sum(row.height + _ROW_GAP for row in rows)
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    real_left = MARGIN + LABEL
    made_left = real_left + CELL + 4 * GAP
    placed = any(shown.whole is not None for row in rows for shown in row.made)
    made = "drawn into photographs" if placed else "generated"
    draw.text((real_left, MARGIN), "trained on", fill=_SOFT, font=_font(15))
    draw.text((made_left, MARGIN), f"{made}, with the mask that came with it", fill=_SOFT, font=_font(15))
    top = MARGIN + HEADER
    for row in rows:
        _label(draw, row.name, (MARGIN, top))
        for line, words in enumerate(row.lines if len(row.lines) > 2 else ()):
            at = (MARGIN, top + line * (CELL + GAP) + CELL - 16)
            draw.text(at, words, fill=_SOFT, font=_font(12))
        for left, pictures in ((real_left, row.real), (made_left, row.made)):
            for index, shown in enumerate(pictures):
                _column(picture, shown, row.lines, left + index * (CELL + GAP), top)
        top += row.height + _ROW_GAP
    return picture


@dataclass(frozen=True)
class _Row:
    """A defect's pictures, or the normals'."""

    name: str
    real: Sequence[Picture]
    made: Sequence[Picture]

    @property
    def lines(self) -> tuple[str, ...]:
        """What is shown of its pictures, one below the other: what any of them has."""
        every = (*self.real, *self.made)
        shown = {
            BEFORE: any(picture.before is not None for picture in every),
            WHOLE: any(picture.whole is not None for picture in every),
            IMAGE: True,
            MASK: any(picture.mask is not None for picture in every),
        }
        return tuple(line for line, there in shown.items() if there)

    @property
    def height(self) -> int:
        """In pixels."""
        return len(self.lines) * (CELL + GAP) - GAP


def _column(picture: Image.Image, shown: Picture, lines: Sequence[str], left: int, top: int) -> None:
    """Draw what there is of a picture, its mask over the image with the mask itself in the corner."""
    drawn = {
        BEFORE: shown.before,
        WHOLE: shown.whole,
        IMAGE: shown.image,
        MASK: None if shown.mask is None else _masked(shown.image, shown.mask),
    }
    for place, line in enumerate(lines):
        pixels = drawn[line]
        if pixels is not None:
            cell = _framed(pixels)
            at = (left + (CELL - cell.width) // 2, top + place * (CELL + GAP) + (CELL - cell.height) // 2)
            picture.paste(cell, at)


def _framed(pixels: Pixels) -> Image.Image:
    """A picture in a cell, in its own shape."""
    height, width = pixels.shape[:2]
    scale = CELL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _masked(image: Pixels, mask: Pixels) -> Pixels:
    """A square image in a cell under its mask, with the mask itself in the corner."""
    small = fit(mask, CELL)
    both = overlay(fit(image, CELL), small)
    both[_emptiest_corner(small)] = np.pad(fit(mask, _INSET), 1, constant_values=128)[:, :, None]
    return both


def _emptiest_corner(mask: Pixels) -> tuple[slice, slice]:
    """Where the mask itself may be drawn over a cell: the corner that hides least of what is marked."""
    side = _INSET + 2
    corners = [
        (rows, columns)
        for rows in (slice(-side, None), slice(side))
        for columns in (slice(-side, None), slice(side))
    ]
    return min(corners, key=lambda corner: int(np.count_nonzero(mask[corner])))


def _label(draw: ImageDraw.ImageDraw, name: str, at: tuple[int, int]) -> None:
    """A row's name, broken at underscores and spaces where it is too long."""
    lines = [""]
    for word in re.findall(r"[^_ ]*[_ ]?", name):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > 14:
            lines.append("")
        lines[-1] += word
    font, text = _font(15), "\n".join(lines)
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow's bitmap font has no more
        text = text.encode("ascii", "replace").decode()
    draw.multiline_text(at, text, fill=_INK, font=font)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, in the size asked for where this Pillow can."""
    try:
        return ImageFont.load_default(size)
    except TypeError:  # before Pillow 10.1
        return ImageFont.load_default()
