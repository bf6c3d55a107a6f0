"""Reads areas that were drawn with LabelMe: polygons, rectangles and circles, whatever their labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from seas_runtime.errors import UserError
from seas_runtime.files import parse_json, read_bytes
from seas_runtime.manifest.fields import Fields, describe
from seas_runtime.placement.morphology import BoolArray

LIMIT = 256 << 20
"""Bytes of a file: it may hold the photograph."""
MOST_PIXELS = 178_956_970  # Pillow's own limit for a picture
MOST_SHAPES, MOST_POINTS = 10_000, 1_000_000
KINDS = ("polygon", "rectangle", "circle")
Point = tuple[float, float]


def read_labelme(path: Path) -> BoolArray:
    """Return what a file's shapes enclose, [imageHeight, imageWidth].

    Raises UserError for a file that is none of LabelMe's, without a size, or with a shape that encloses
    nothing, such as a line.
    """
    value = parse_json(read_bytes(path, "area", LIMIT), f"{path}: area")
    where = f"{path}"
    if not isinstance(value, dict) or "shapes" not in value:
        raise UserError(f"{where}: expected LabelMe's JSON, with `shapes`, found {describe(value)}")
    fields = Fields(value, where)
    height, width = fields.integer("imageHeight", 1, 1 << 17), fields.integer("imageWidth", 1, 1 << 17)
    if height * width > MOST_PIXELS:
        raise UserError(f"{where}: expected at most {MOST_PIXELS} pixels, found {width} x {height}")
    image = Image.new("1", (width, height))
    draw = ImageDraw.Draw(image)
    left = MOST_POINTS
    for index, item in enumerate(fields.items("shapes", MOST_SHAPES)):
        shape = Fields(item, f"{where}: shapes[{index}]")
        kind = shape.text("shape_type") if shape.has("shape_type") else "polygon"
        if kind not in KINDS:
            shape.fail("shape_type", f"one of {', '.join(KINDS)}", kind)
        points = [_point(shape, point) for point in shape.items("points", left)]
        left -= len(points)
        _draw(draw, shape, kind, points)
    return np.array(image)


def _point(shape: Fields, value: Any) -> Point:
    numbers = isinstance(value, list) and len(value) == 2
    if not numbers or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in value):
        shape.fail("points", "pairs of numbers", value)
    x, y = float(value[0]), float(value[1])
    if not (abs(x) < 1e6 and abs(y) < 1e6):
        shape.fail("points", "points on the picture", value)
    return x, y


def _draw(draw: ImageDraw.ImageDraw, shape: Fields, kind: str, points: list[Point]) -> None:
    least = 3 if kind == "polygon" else 2
    if len(points) < least or (kind != "polygon" and len(points) != 2):
        shape.fail("points", f"{least} points{' or more' if kind == 'polygon' else ''} of a {kind}", points)
    if kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
        return
    (x, y), (other_x, other_y) = points
    if kind == "circle":  # its centre and a point on it
        radius = math.dist(*points)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    else:
        draw.rectangle((min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y)), fill=1)
