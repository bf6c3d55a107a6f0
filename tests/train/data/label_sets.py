"""Photographs of noise, and what labelling tools write of them, as the tools' documentation has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seas_train.data.importing import ImportReport, import_product
from tests.train.data.product_folders import SIZE, photograph, save

WIDTH, HEIGHT = SIZE


def photographs(folder: Path, count: int, first: int = 0, suffix: str = ".png") -> list[Path]:
    return [save(photograph(first + i), folder / f"{first + i:03}{suffix}") for i in range(count)]


def square(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A mask of a box, its right and bottom not in it."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def bring_in(source: Path, out: Path, **options: Any) -> ImportReport:
    return import_product(source, "part", out, **options)


def product_masks(product: Path) -> dict[str, dict[str, np.ndarray]]:
    """The masks of a product in MVTec AD layout: defect -> picture -> mask."""
    return {
        folder.name: {
            file.stem.removesuffix("_mask"): np.asarray(Image.open(file)) > 0
            for file in sorted(folder.iterdir())
        }
        for folder in sorted((product / "ground_truth").iterdir())
    }


def weak_in(product: Path) -> set[str]:
    """The names of the pictures whose masks are listed as boxes."""
    file = product / "weak.json"
    listed = json.loads(file.read_text())["weak"] if file.exists() else {}
    assert set(listed.values()) <= {"box"}
    assert all((product / path).is_file() for path in listed)
    return {Path(path).stem.removesuffix("_mask") for path in listed}


CVAT_SHAPES = {  # docs.cvat.ai, "XML annotation format": one of each that has an area
    "box": '<box label="dent" xtl="10.00" ytl="8.00" xbr="30.00" ybr="24.00" occluded="0" z_order="4"></box>',
    "polygon": '<polygon label="dent" points="10.25,8.25;29.75,8.25;29.75,23.75;10.25,23.75" occluded="0" '
    'z_order="1"></polygon>',
    "mask": '<mask label="dent" source="manual" occluded="0" rle="0, 320" left="10" top="8" width="20" '
    'height="16" z_order="0"></mask>',
    "ellipse": '<ellipse label="dent" source="manual" occluded="0" cx="20" cy="16" rx="10" ry="6" '
    'z_order="0"></ellipse>',
}


def cvat(folder: Path, shapes: dict[str, str], images: str = "images", root: str = "annotations") -> Path:
    """Write CVAT's XML of the shapes of each image, and its head as CVAT dumps it."""
    head = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>4</id><name>part</name><size>3</size><mode>annotation</mode><overlap>0</overlap>
    <labels><label><name>dent</name><attributes></attributes></label></labels></task>
    <dumped>2018-09-25 11:38:28.799808+03:00</dumped></meta>
"""
    rows = [
        f'  <image id="{number}" name="{name}" width="{WIDTH}" height="{HEIGHT}">\n    {shape}\n  </image>\n'
        for number, (name, shape) in enumerate(shapes.items())
    ]
    file = folder / f"{root}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(head + "".join(rows) + "</annotations>\n")
    return file


def voc_xml(file: Path, name: str, objects: list[tuple[str, int, int, int, int]]) -> None:
    """Write a file of Pascal VOC's: label, xmin, ymin, xmax, ymax of each object."""
    rows = "".join(
        f"<object><name>{label}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for label, a, b, c, d in objects
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"<annotation><folder>VOC2012</folder><filename>{name}</filename><size><width>{WIDTH}</width>"
        f"<height>{HEIGHT}</height><depth>3</depth></size><segmented>0</segmented>{rows}</annotation>"
    )


def voc_palette(indices: np.ndarray) -> Image.Image:
    """A palette picture with VOC's colours, by its development kit's own rule."""
    colours = []
    for index in range(256):
        red = green = blue = 0
        bits = index
        for shift in range(7, -1, -1):
            red |= (bits & 1) << shift
            green |= (bits >> 1 & 1) << shift
            blue |= (bits >> 2 & 1) << shift
            bits >>= 3
        colours += [red, green, blue]
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(colours)
    return image
