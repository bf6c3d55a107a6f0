"""Formats of folders and mask pictures: MVTec AD, anomalib's Folder, Hugging Face's ImageFolder."""

from __future__ import annotations

import json
from typing import Any

from seas_runtime.dataset.formats.finished import FinishedDataset, Picture
from seas_runtime.dataset.formats.target import Target, half_of
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD


def write_mvtec(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write the pairs as MVTec AD lays a product out: `train/good`, `test/DEFECT`, `ground_truth/DEFECT`.

    Normals that validate lie in `test/good`. Returns the masks.
    """
    masks, weak = 0, []
    for picture in dataset.pictures:
        number, folder = picture.name.rpartition("_")[2], "test"
        if picture.defect == GOOD and picture.name not in validation:
            folder = "train"
        target.place(picture.image, f"{folder}/{picture.defect}/{number}{picture.image.suffix}")
        if picture.mask is not None:
            mask = f"ground_truth/{picture.defect}/{number}_mask{picture.mask.suffix}"
            target.place(picture.mask, mask)
            masks += 1
            weak += [mask] if picture.weak else []
    target.weak(weak)
    return masks


def write_anomalib(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write anomalib's Folder data set and `folder.yaml` for its command line; return the masks.

    anomalib pairs pictures and masks by their order, so that both have the same names (anomalib's
    `data/datasets/image/folder.py`). Raises UserError where there are no normals, which it needs.
    """
    if not any(picture.defect == GOOD for picture in dataset.pictures):
        raise UserError(
            f"{dataset.path}: expected normals for anomalib's Folder data set, found none; generate them "
            "with --defect good, or convert --to mvtec and add your own"
        )
    masks, weak, tests = 0, [], False
    for picture in dataset.pictures:
        if picture.mask is None:
            kept = picture.name in validation
            tests = tests or kept
            target.place(picture.image, f"{'normal_test' if kept else 'normal'}/{picture.file_name}")
            continue
        mask = f"mask/{picture.name}{picture.mask.suffix}"
        target.place(picture.image, f"abnormal/{picture.file_name}")
        target.place(picture.mask, mask)
        masks += 1
        weak += [mask] if picture.weak else []
    settings = {
        "name": dataset.product,
        "root": ".",
        "normal_dir": "normal",
        **({"abnormal_dir": "abnormal", "mask_dir": "mask"} if masks else {}),
        **({"normal_test_dir": "normal_test"} if tests else {}),
    }
    lines = [f"  {name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items()]
    target.text(
        "folder.yaml",
        "# In this folder: anomalib train --model Patchcore --data folder.yaml\n"
        f"class_path: anomalib.data.Folder\ninit_args:\n{''.join(lines)}",
    )
    target.weak(weak)
    return masks


def write_image_folder(dataset: FinishedDataset, validation: frozenset[str], target: Target) -> int:
    """Write Hugging Face's ImageFolder: `train` and `validation` with pictures, masks and `metadata.jsonl`.

    Columns: image, mask (none for a normal), label, weak, and `objects` with the regions' boxes. Normals
    alone are never held out. Returns the regions. Format: huggingface.co/docs/datasets, "Image dataset".
    """
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    if all(picture.mask is None for picture in dataset.pictures if picture.name in validation):
        validation = frozenset()  # both halves must have the same types of columns
    count = 0
    for picture in dataset.pictures:
        half = "validation" if half_of(picture, validation) == "val" else "train"
        target.place(picture.image, f"{half}/images/{picture.file_name}")
        row = _row(picture)
        if picture.mask is not None:
            target.place(picture.mask, f"{half}/{row['mask_file_name']}")
        rows[half].append(row)
        count += len(row["objects"]["bbox"])
    for half, listed in rows.items():
        if listed:
            target.json_lines(f"{half}/metadata.jsonl", sorted(listed, key=_has_no_mask))
    return count


def _has_no_mask(row: dict[str, Any]) -> bool:
    """Rows with a mask come first: readers take the columns' types from them."""
    return row["mask_file_name"] is None


def _row(picture: Picture) -> dict[str, Any]:
    boxes = [[region.left, region.top, region.width, region.height] for region in picture.regions()]
    return {
        "file_name": f"images/{picture.file_name}",
        "mask_file_name": None if picture.mask is None else f"masks/{picture.name}{picture.mask.suffix}",
        "label": picture.defect,
        "weak": picture.weak,
        "objects": {"bbox": boxes, "categories": [picture.defect] * len(boxes)},
    }
