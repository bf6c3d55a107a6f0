"""CVAT for images 1.1: `annotations.xml` and the pictures in `images`, as CVAT exports and imports them.

Format: docs.cvat.ai, "XML annotation format". A region is a polygon; one with holes a mask, whose runs go
along the rows of its box, background first. A weak label is a box with the attribute `weak`.
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from seas_runtime.dataset.formats.finished import FinishedDataset, Picture
from seas_runtime.dataset.formats.shapes.outlines import join_rings, trace_rings
from seas_runtime.dataset.formats.shapes.regions import LabelledRegion
from seas_runtime.dataset.formats.shapes.runs import encode_runs
from seas_runtime.dataset.formats.target import Target

WEAK = "weak"


def write(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write `annotations.xml` and `images`; return the regions. There are no halves."""
    del validation
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    _meta(root, dataset)
    count = 0
    for number, picture in enumerate(sorted(dataset.pictures, key=lambda one: one.file_name)):
        target.place(picture.image, f"images/{picture.file_name}")
        image = SubElement(
            root,
            "image",
            id=str(number),
            name=picture.file_name,
            width=str(picture.size[0]),
            height=str(picture.size[1]),
        )
        for region in picture.regions():
            _shape(image, picture, region)
            count += 1
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    target.text("annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
    return count


def _meta(root: Element, dataset: FinishedDataset) -> None:
    task = SubElement(SubElement(root, "meta"), "task")
    SubElement(task, "name").text = dataset.product
    SubElement(task, "size").text = str(len(dataset.pictures))
    SubElement(task, "mode").text = "annotation"
    SubElement(task, "overlap").text = "0"
    labels = SubElement(task, "labels")
    for defect in dataset.defects:
        label = SubElement(labels, "label")
        SubElement(label, "name").text = defect
        SubElement(label, "type").text = "any"
        attributes = SubElement(label, "attributes")
        if any(picture.weak for picture in dataset.pictures):
            attribute = SubElement(attributes, "attribute")
            values = {"name": WEAK, "mutable": "False", "input_type": "checkbox", "default_value": "false"}
            for name, value in {**values, "values": "false"}.items():
                SubElement(attribute, name).text = value


def _shape(image: Element, picture: Picture, region: LabelledRegion) -> None:
    rings = trace_rings(region)
    left, top = region.left, region.top
    if picture.weak and region.is_box:
        corners = (left, top, left + region.width, top + region.height)
        kind, places = (
            "box",
            dict(zip(("xtl", "ytl", "xbr", "ybr"), map("{:.2f}".format, corners), strict=True)),
        )
    elif any(ring.hole for ring in rings):
        runs = ", ".join(map(str, encode_runs(region.mask, by_column=False)))
        sides = {"left": left, "top": top, "width": region.width, "height": region.height}
        kind, places = "mask", {"rle": runs, **{name: str(value) for name, value in sides.items()}}
    else:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in join_rings(rings).tolist())
        kind, places = "polygon", {"points": points}
    common = {"label": picture.defect, "source": "auto", "occluded": "0"}
    shape = SubElement(image, kind, {**common, **places, "z_order": "0"})
    if picture.weak:
        SubElement(shape, "attribute", name=WEAK).text = "true"
