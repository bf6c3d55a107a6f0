"""One picture of what a build made: real pairs, generated pairs, masks and overlays in a labelled grid."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
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


def write_overview(content: Content, file: Path) -> None:
    """Draw `content` as one PNG: per defect images over overlays, with the mask in a corner; then normals."""
    stream = io.BytesIO()
    overview(content).save(stream, "png", optimize=True)
    atomic_write_bytes(file, stream.getvalue())


def overview(content: Content) -> Image.Image:
    """The picture; see `write_overview`."""
    bad = {verdict.defect for verdict in content.verdicts if verdict.state is State.NOT_USABLE}
    rows: list[tuple[str, Sequence[Picture], Sequence[Picture]]] = [
        (name + " (not usable)" * (name in bad), defect.real[:1], defect.generated[:GENERATED])
        for defect in content.defects
        for name in (defect.name,)
    ]
    if content.generated_normals:
        rows.append(("good", content.real_normals[:1], content.generated_normals[:GENERATED]))
    heights = [_height(real, made) for _, real, made in rows]
    width = 2 * MARGIN + LABEL + (1 + GENERATED) * (CELL + GAP) + 3 * GAP
    picture = Image.new("RGB", (width, 2 * MARGIN + HEADER + sum(heights) + _ROW_GAP * len(rows)), _PAPER)
    draw = ImageDraw.Draw(picture)
    real_left = MARGIN + LABEL
    made_left = real_left + CELL + 4 * GAP
    draw.text((real_left, MARGIN), "trained on", fill=_SOFT, font=_font(15))
    draw.text((made_left, MARGIN), "generated, with the mask that came with it", fill=_SOFT, font=_font(15))
    top = MARGIN + HEADER
    for (name, real, made), height in zip(rows, heights, strict=True):
        _label(draw, name, (MARGIN, top))
        for left, pictures in ((real_left, real), (made_left, made)):
            for index, shown in enumerate(pictures):
                _cell(picture, shown, left + index * (CELL + GAP), top)
        top += height + _ROW_GAP
    return picture


def _height(*groups: Sequence[Picture]) -> int:
    """A row's height: normals have no overlay below them."""
    masked = any(picture.mask is not None for group in groups for picture in group)
    return 2 * CELL + GAP if masked else CELL


def _cell(picture: Image.Image, shown: Picture, left: int, top: int) -> None:
    """Draw an image, and below it the image under its mask with the mask itself in the corner."""
    image = fit(shown.image, CELL)
    picture.paste(Image.fromarray(image), (left, top))
    if shown.mask is None:
        return
    mask = fit(shown.mask, CELL)
    both = overlay(image, mask)
    small = np.pad(fit(shown.mask, _INSET), 1, constant_values=128)[:, :, None]
    both[_emptiest_corner(mask)] = small
    picture.paste(Image.fromarray(both), (left, top + CELL + GAP))


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
