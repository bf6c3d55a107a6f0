"""Pascal VOC's XML files: a box for each object.

VOC counts pixels from 1, and both corners belong to the box (its development kit). Tools that write numbers
with a point (CVAT's and Datumaro's exports) measure from the picture's edge instead.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from seas_train.data.layouts.annotations.photographs import Photographs, parse_xml
from seas_train.data.layouts.annotations.shapes import Marked
from seas_train.data.problems import Kind, Problems


def read_boxes(file: Path, photographs: Photographs, marked: dict[Path, Marked], problems: Problems) -> None:
    """Read an XML file's objects; a photograph that has a mask already keeps it."""
    try:
        root = parse_xml(file)
        if root.tag != "annotation":
            return
        name = root.findtext("filename") or file.stem
        path = photographs.named(name, file) or photographs.of_stem(file.name, file)
        if path is None:
            problems.warn(Kind.MISSING_FILE, file, f"its photograph {name} is not there; left out")
            return
        if path in marked:
            return
        entry = Marked(path, file, (_number(root, "size/width"), _number(root, "size/height")))
        for item in root.iter("object"):
            _mark_object(entry, item)
        marked[path] = entry
    except Exception as error:  # written by anything
        problems.warn(Kind.BROKEN_LABELS, file, f"cannot be read as Pascal VOC's ({error}); left out")


def _mark_object(entry: Marked, item: Element) -> None:
    label = (item.findtext("name") or "").strip() or "defect"
    if (polygon := item.find("polygon")) is not None:  # as Roboflow writes it: x1, y1, x2, ...
        places = {child.tag: float(child.text or "nan") for child in polygon}
        count = len(places) // 2
        entry.polygon(label, [(places[f"x{i}"], places[f"y{i}"]) for i in range(1, count + 1)])
        return
    texts = [item.findtext(f"bndbox/{side}") or "nan" for side in ("xmin", "ymin", "xmax", "ymax")]
    left, top, right, bottom = map(float, texts)
    first = 0 if any("." in text for text in texts) else 1
    entry.box(label, (left - first, top - first), (right, bottom))


def _number(root: Element, path: str) -> int:
    text = root.findtext(path)
    if text is None:
        raise ValueError(f"expected {path}, found none")
    return int(float(text))
