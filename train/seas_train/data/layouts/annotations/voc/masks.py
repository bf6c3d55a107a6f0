"""Masks of class colours in folders `SegmentationClass`, drawn class by class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_train.data.layouts.annotations.photographs import Photographs
from seas_train.data.layouts.annotations.shapes import Mark, Marked
from seas_train.data.layouts.annotations.voc.classes import (
    ClassColours,
    Value,
    choose_background,
    read_classes,
    shown_value,
)
from seas_train.data.layouts.found import folders
from seas_train.data.names import match_key
from seas_train.data.problems import Kind, Problems

MASKS = ("segmentationclass", "segmentationclasspng")
_MOST_COLOURS = 256


def mask_folders(product: Path, depth: int = 3) -> Iterator[Path]:
    """Yield the folders of masks below a folder."""
    for folder in folders(product):
        if match_key(folder.name) in MASKS:
            yield folder
        elif depth > 1:
            yield from mask_folders(folder, depth - 1)


def read_masks(
    product: Path,
    masks: list[Path],
    photographs: Photographs,
    colours: ClassColours,
    marked: dict[Path, Marked],
    problems: Problems,
) -> None:
    """Add what the masks mark on their photographs; what cannot be used is told.

    Raises UserError where it does not follow which colour is the background.
    """
    classes = read_classes(product, masks)
    found: dict[Path, tuple[list[Value], tuple[int, int]]] = {}
    for file in masks:
        try:
            values = _values(file, classes.coloured)
            found[file] = np.unique(values).tolist(), (values.shape[1], values.shape[0])
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            problems.warn(Kind.UNREADABLE, file, f"cannot be read as a mask ({error}); left out")
    choose_background(product, classes, colours, {value for here, _ in found.values() for value in here})
    for file, (here, size) in found.items():
        path = photographs.of_stem(file.name, file)
        unknown = [value for value in here if value not in classes.none and classes.label(value) is None]
        if path is None:
            problems.warn(Kind.EXTRA_MASK, file, "no photograph has this name; left out")
        elif len(here) > _MOST_COLOURS:
            problems.warn(Kind.NOT_A_MASK, file, f"has {len(here)} colours, as a photograph has; left out")
        elif unknown:
            shown = ", ".join(shown_value(value, classes.coloured) for value in unknown[:5])
            problems.warn(
                Kind.BROKEN_LABELS, file, f"has {shown}, which {classes.listed} does not name; left out"
            )
        else:
            entry = marked.setdefault(path, Marked(path, file, size))
            for value in here:
                if value not in classes.none and (label := classes.label(value)) is not None:
                    entry.add(_mark(label, file, value, classes.coloured))


def _mark(label: str, file: Path, value: Value, coloured: bool) -> Mark:
    """A mark of the pixels of one value, which are read again when they are drawn."""

    def draw(mask: Image.Image) -> None:
        part = Image.fromarray((_values(file, coloured) == value).astype(np.uint8) * 255)
        mask.paste(255, (0, 0), part)

    return Mark(label, draw)


def _values(file: Path, coloured: bool) -> NDArray[np.int64]:
    """Return a mask's values, [height, width]: indices of a palette or grey levels, or colours."""
    with Image.open(file, formats=("PNG", "BMP", "TIFF", "GIF")) as opened:
        if not coloured:
            return np.asarray(opened if opened.mode in ("P", "L") else opened.convert("L")).astype(np.int64)
        red, green, blue = np.moveaxis(np.asarray(opened.convert("RGB")).astype(np.int64), -1, 0)
    return np.asarray((red << 16) + (green << 8) + blue)
