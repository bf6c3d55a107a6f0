"""Draws what was drawn beside what is real: windows of held-out defects, and of placed pairs.

    python benchmarks/close_ups.py out/tiles/dataset --product ../shared/data/magnetic_tile --out tiles.png

A row a defect: on the left real held-out pairs that trained nothing, on the right the data set's first
accepted pairs, each in a window of three times the defect's box; below each the same with its mask's outline.
Nothing is chosen by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from seas_runtime.dataset.contact_sheet import outline_mask
from seas_runtime.manifest.types import GOOD
from seas_runtime.placement.regions import Region, box_of, resize_mask, resize_pixels
from seas_train.data import load_product

TILE, GAP, TITLE = 112, 4, 18


def window(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Image.Image:
    """Return a picture of the window around a mask's box, and below it with the outline."""
    top, left, bottom, right = box_of(mask)
    side = max(48, 3 * max(bottom - top, right - left))
    side = min(side, max(min(mask.shape), bottom - top, right - left))
    start = [
        max(0, min((low + high - side) // 2, length - side))
        for low, high, length in ((left, right, mask.shape[1]), (top, bottom, mask.shape[0]))
    ]
    region = Region(*start, side)
    seen = resize_pixels(np.ascontiguousarray(region.cut(pixels)), TILE)
    marked = outline_mask(seen, resize_mask(region.cut(mask), TILE))
    whole = Image.new("RGB", (TILE, 2 * TILE))
    whole.paste(Image.fromarray(seen), (0, 0))
    whole.paste(marked if isinstance(marked, Image.Image) else Image.fromarray(marked), (0, TILE))
    return whole


def read(image: Path, mask: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a pair as 8-bit RGB and a mask."""
    return np.asarray(Image.open(image).convert("RGB")), np.asarray(Image.open(mask).convert("L")) > 127


def main() -> int:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--product", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--real", type=int, default=4, help="real ones a row")
    parser.add_argument("--made", type=int, default=7, help="placed ones a row")
    arguments = parser.parse_args()
    product = load_product(arguments.product, size=256)
    made: dict[str, list[Path]] = {}
    for line in (arguments.dataset / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["accepted"] and record["defect"] != GOOD:
            made.setdefault(record["defect"], []).append(record["files"])
    wide, row = arguments.real + arguments.made, TITLE + 2 * TILE + GAP
    sheet = Image.new("RGB", (wide * (TILE + GAP) + 4 * GAP, row * len(product.defects)), "white")
    pen = ImageDraw.Draw(sheet)
    for line, defect in enumerate(product.defects):
        top = line * row
        pen.text((GAP, top + 3), f"{defect.name}: real, held out", fill="black")
        start = arguments.real * (TILE + GAP) + 4 * GAP
        pen.text((start, top + 3), "drawn into normals", fill="black")
        pictures = []
        for pair in defect.test[: arguments.real]:
            mask = np.asarray(product.marking(pair)) > 0
            pictures.append(
                (len(pictures) * (TILE + GAP), window(np.asarray(product.photograph(pair.image)), mask))
            )
        for index, files in enumerate(made.get(defect.name, [])[: arguments.made]):
            pair_of = read(arguments.dataset / files["image"], arguments.dataset / files["mask"])
            pictures.append((start + index * (TILE + GAP), window(*pair_of)))
        for left, picture in pictures:
            sheet.paste(picture, (left, top + TITLE))
    sheet.save(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
