"""YOLO: folders `images` and `labels`, a text file for each picture, `data.yaml` for ultralytics.

Formats: docs.ultralytics.com, "Instance Segmentation Datasets" (class, then the polygon's points) and "Object
Detection Datasets" (class, the box's centre, width and height), all as shares of the picture's sides. A
normal has an empty file. `data.yaml` names no `path`: ultralytics takes the file's own folder then.
"""

from __future__ import annotations

import json

from seas_runtime.dataset.formats.finished import FinishedDataset, Picture
from seas_runtime.dataset.formats.shapes.outlines import join_rings, trace_rings
from seas_runtime.dataset.formats.shapes.regions import LabelledRegion
from seas_runtime.dataset.formats.target import Target, half_of


def write_segments(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write a data set for segmentation; return the regions."""
    return _write(dataset, validation, target, boxes=False)


def write_boxes(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write a data set for detection: a box for each region; return the regions."""
    return _write(dataset, validation, target, boxes=True)


def _write(dataset: FinishedDataset, validation: frozenset[str], target: Target, *, boxes: bool) -> int:
    numbers = {defect: number for number, defect in enumerate(dataset.defects)}
    count, weak = 0, []
    for picture in dataset.pictures:
        half = half_of(picture, validation)
        label = f"labels/{half}/{picture.name}.txt"
        target.place(picture.image, f"images/{half}/{picture.file_name}")
        lines = [
            f"{numbers[picture.defect]} {_values(_box(region) if boxes else _outline(region), picture)}\n"
            for region in picture.regions()
        ]
        target.text(label, "".join(lines))
        count += len(lines)
        weak += [label] if picture.weak else []
    target.text("data.yaml", _description(dataset, bool(validation)))
    target.weak(weak)
    return count


def _outline(region: LabelledRegion) -> list[float]:
    points: list[float] = join_rings(trace_rings(region)).ravel().tolist()
    return points


def _box(region: LabelledRegion) -> list[float]:
    return [
        region.left + region.width / 2,
        region.top + region.height / 2,
        float(region.width),
        float(region.height),
    ]


def _values(pixels: list[float], picture: Picture) -> str:
    """Return x and y values in turn as shares of the picture's width and height."""
    return " ".join(f"{value / picture.size[place % 2]:.8g}" for place, value in enumerate(pixels))


def _description(dataset: FinishedDataset, validates: bool) -> str:
    names = "".join(
        f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(dataset.defects)
    )
    kept = "images/val" if validates else "images/train  # nothing was held out"
    return (
        f"# {dataset.product}: generated image/mask pairs\ntrain: images/train\nval: {kept}\nnames:\n{names}"
    )
