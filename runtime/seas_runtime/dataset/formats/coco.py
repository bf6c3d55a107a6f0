"""COCO: a JSON file of images, categories and an annotation for each connected region, for each half.

Format: cocodataset.org, "Data format"; pycocotools reads both kinds of `segmentation`: one polygon, or
compressed runs for a region with holes, which COCO's polygons cannot have. `bbox` is left, top, width and
height in pixels. `weak` is ours: the label is a box around the defect.
"""

from __future__ import annotations

from typing import Any

from seas_runtime.dataset.formats.finished import FinishedDataset, Picture
from seas_runtime.dataset.formats.shapes.outlines import join_rings, trace_rings
from seas_runtime.dataset.formats.shapes.regions import LabelledRegion
from seas_runtime.dataset.formats.shapes.runs import compress_runs, encode_runs
from seas_runtime.dataset.formats.target import Target, half_of


def write(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write `images/train`, `images/val` and `annotations/instances_*.json`; return the regions."""
    categories = {defect: number for number, defect in enumerate(dataset.defects, start=1)}
    count = 0
    for half in ("train", "val") if validation else ("train",):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for picture in dataset.pictures:
            if half_of(picture, validation) != half:
                continue
            width, height = picture.size
            number = len(images) + 1
            images.append(
                {
                    "id": number,
                    "file_name": picture.file_name,
                    "width": width,
                    "height": height,
                    **({"license": 1} if dataset.description.get("licences") else {}),
                }
            )
            target.place(picture.image, f"images/{half}/{picture.file_name}")
            for region in picture.regions():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": categories[picture.defect],
                        **describe_region(picture, region),
                        **({"weak": True} if picture.weak else {}),
                    }
                )
        count += len(annotations)
        target.json(
            f"annotations/instances_{half}.json",
            {
                "info": {"description": f"{dataset.product}: generated image/mask pairs", "version": "1.0"},
                "licenses": [
                    {"id": number, "name": name, "url": ""}
                    for number, name in enumerate(dataset.description.get("licences") or [], start=1)
                ],
                "images": images,
                "annotations": annotations,
                "categories": [
                    {"id": number, "name": defect, "supercategory": "defect"}
                    for defect, number in categories.items()
                ],
            },
        )
    return count


def describe_region(picture: Picture, region: LabelledRegion) -> dict[str, Any]:
    """Return a region's `segmentation`, `area`, `bbox` and `iscrowd`."""
    rings = trace_rings(region)
    segmentation: Any
    if any(ring.hole for ring in rings):
        width, height = picture.size
        counts = encode_runs(region.on_picture(height, width))
        segmentation = {"size": [height, width], "counts": compress_runs(counts)}
    else:
        segmentation = [join_rings(rings).ravel().tolist()]
    return {
        "segmentation": segmentation,
        "area": region.area,
        "bbox": [region.left, region.top, region.width, region.height],
        "iscrowd": 0,
    }
