"""LabelMe: a JSON file beside each picture, as version 5 writes them; normals have one without shapes.

Format: labelme's `label_file.py` and `utils/shape.py`. A region is a polygon; one with holes a `mask` shape:
its box's corners, the second one belonging to it, and a PNG in base64. A weak label is a rectangle with the
flag `weak`.
"""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from seas_runtime.dataset.formats.finished import FinishedDataset, Picture
from seas_runtime.dataset.formats.shapes.outlines import INSET, join_rings, trace_rings
from seas_runtime.dataset.formats.shapes.regions import LabelledRegion
from seas_runtime.dataset.formats.target import Target

VERSION = "5.4.1"


def write(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write pictures and their files into one folder; return the regions. There are no halves."""
    del validation
    count = 0
    for picture in dataset.pictures:
        target.place(picture.image, picture.file_name)
        shapes = [_shape(picture, region) for region in picture.regions()]
        count += len(shapes)
        target.json(
            f"{picture.name}.json",
            {
                "version": VERSION,
                "flags": {},
                "shapes": shapes,
                "imagePath": picture.file_name,
                "imageData": None,
                "imageHeight": picture.size[1],
                "imageWidth": picture.size[0],
            },
        )
    return count


def _shape(picture: Picture, region: LabelledRegion) -> dict[str, Any]:
    rings = trace_rings(region)
    right, bottom = region.left + region.width, region.top + region.height
    mask = None
    if picture.weak and region.is_box:
        kind = "rectangle"
        points = [[region.left + INSET, region.top + INSET], [right - INSET, bottom - INSET]]
    elif any(ring.hole for ring in rings):
        kind, points = "mask", [[region.left, region.top], [right - 1, bottom - 1]]
        buffer = io.BytesIO()
        Image.fromarray(region.mask).save(buffer, "PNG")
        mask = base64.b64encode(buffer.getvalue()).decode("ascii")
    else:
        kind, points = "polygon", join_rings(rings).tolist()
    return {
        "label": picture.defect,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {"weak": True} if picture.weak else {},
        "mask": mask,
    }
