"""CVAT for images: an XML file with every image's boxes, polygons, masks and ellipses, by label.

Format: docs.cvat.ai, "XML annotation format", versions 1.0 and 1.1. Runs of a mask go along the rows of its
box, background first.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree.ElementTree import Element

from seas_train.data.layouts.annotations.photographs import Photographs, parse_xml, xml_files
from seas_train.data.layouts.annotations.shapes import Marked
from seas_train.data.layouts.found import is_normal_word
from seas_train.data.problems import Kind, Problems

SIGNS = "an XML file of CVAT for images, and the images"
_CORNERS = 64  # of an ellipse


def looks_like(product: Path) -> bool:
    """Whether a file of CVAT's lies in the folder or below."""
    return any(xml_files(product, b"annotations"))


def read(product: Path, problems: Problems) -> tuple[list[Marked], list[Path]]:
    """Return what is marked on each image that the files list; one that is not there is told."""
    photographs = Photographs(product)
    marked: dict[Path, Marked] = {}
    for file in xml_files(product, b"annotations"):
        try:
            root = parse_xml(file)
            if root.find("track") is not None:
                raise ValueError("holds tracks of a video; export it as CVAT for images")
        except Exception as error:  # written by anything
            problems.error(Kind.BROKEN_LABELS, file, f"cannot be read as CVAT's: {error}")
            continue
        for image in root.iter("image"):
            _read_image(image, file, photographs, marked, problems)
    return list(marked.values()), []


def _read_image(
    image: Element, file: Path, photographs: Photographs, marked: dict[Path, Marked], problems: Problems
) -> None:
    name = image.get("name", "")
    path = photographs.named(name, file)
    if path is None:
        problems.warn(Kind.MISSING_FILE, file, f"lists {name}, which is not there; left out")
        return
    try:
        size = int(image.attrib["width"]), int(image.attrib["height"])
    except (KeyError, ValueError) as error:
        problems.warn(Kind.BROKEN_LABELS, file, f"{name}: expected width and height ({error}); left out")
        return
    entry = marked.setdefault(path, Marked(path, file, size))
    for shape in image:
        try:
            _mark(entry, shape)
        except Exception as error:  # one bad outline is one line of the report
            problems.warn(Kind.BROKEN_LABELS, file, f"{name}: {shape.tag}: {error!r}; left out")
            entry.broken += 1


def _mark(entry: Marked, shape: Element) -> None:
    given, label = shape.attrib, shape.attrib["label"]
    weak = any(
        attribute.get("name") == "weak" and (attribute.text or "").strip().lower() == "true"
        for attribute in shape.iter("attribute")
    )
    angle = math.radians(float(given.get("rotation", 0)))
    if shape.tag == "box":
        low, high = (float(given["xtl"]), float(given["ytl"])), (float(given["xbr"]), float(given["ybr"]))
        if angle:
            corners = [low, (high[0], low[1]), high, (low[0], high[1])]
            entry.polygon(label, _turned(corners, angle), box=True)
        else:
            entry.box(label, low, high)
    elif shape.tag == "polygon":
        pairs = [pair.split(",") for pair in given["points"].split(";")]
        entry.polygon(label, [(float(x), float(y)) for x, y in pairs], weak=weak)
    elif shape.tag == "mask":
        left, top, width, height = (int(float(given[key])) for key in ("left", "top", "width", "height"))
        counts = [int(count) for count in given["rle"].split(",")]
        entry.runs(label, counts, (width, height), corner=(left, top), by_column=False, weak=weak)
    elif shape.tag == "ellipse":
        x, y, across, down = (float(given[key]) for key in ("cx", "cy", "rx", "ry"))
        turns = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
        points = [(x + across * math.cos(turn), y + down * math.sin(turn)) for turn in turns]
        entry.polygon(label, _turned(points, angle), weak=weak)
    elif shape.tag != "tag" or not is_normal_word(label):  # polylines, points, cuboids, skeletons, tags
        entry.lines += 1


def _turned(points: list[tuple[float, float]], angle: float) -> list[tuple[float, float]]:
    """Return points turned clockwise, by an angle in radians, around the middle of their box."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    middle = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    cos, sin = math.cos(angle), math.sin(angle)
    moved = [(x - middle[0], y - middle[1]) for x, y in points]
    return [(middle[0] + x * cos - y * sin, middle[1] + x * sin + y * cos) for x, y in moved]
