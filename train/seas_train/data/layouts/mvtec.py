"""MVTec AD: PRODUCT/train/good, PRODUCT/test/{good,DEFECT}, PRODUCT/ground_truth/DEFECT/NNN_mask.png.

MVTec LOCO AD lies alike: its masks are folders, ground_truth/DEFECT/NNN/MMM.png, and it has validation/good.
"""

from __future__ import annotations

from pathlib import Path

from seas_runtime.dataset.formats.target import WEAK_NAME
from seas_runtime.manifest.types import GOOD
from seas_train.data.layouts.annotations.labelme import marks_beside
from seas_train.data.layouts.annotations.shapes import WAY_ON
from seas_train.data.layouts.found import (
    Found,
    child,
    folders,
    is_normal_word,
    list_masks,
    list_photographs,
    normal_child,
    pair_up,
)
from seas_train.data.layouts.mask_files import weak_masks
from seas_train.data.names import match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "train/good, test/DEFECT and ground_truth/DEFECT"
_LABELLED = ("images", "labels", "annotations", "masks")
"""Folders inside of `train` that are another layout's."""


def looks_like(product: Path) -> bool:
    """Whether a train, test or ground_truth folder holds folders with images directly inside.

    Not where defects lie beside the normals, in the folder itself or in `train`: that is `okng`.
    """
    train = child(product, "train")
    halves = [half for half in (train, child(product, "test")) if half is not None]
    if child(product, "ground_truth") is not None:
        return bool(halves) or normal_child(product) is None
    if train is not None and normal_child(train) is not None and len(folders(train)) > 1:
        return False
    return any(
        child(inner, "rgb") is None and match_key(inner.name) not in _LABELLED
        for half in halves
        for inner in folders(half)
    )


def find(product: Path, problems: Problems) -> Found:
    """List the product's normals, images and masks; whatever has no place in the layout is reported."""
    found = Found()
    train = child(product, "train")
    good = normal_child(train) if train is not None else None
    if good is None:
        problems.error(Kind.FOLDER_MISSING, product / "train" / GOOD, "expected the folder of normal images")
    else:
        found.train_normals = list_normals(good, problems)
        for other in folders(good.parent):
            if other != good:
                problems.warn(Kind.IGNORED, other, f"only train/{good.name} is read for training")
    validation = child(product, "validation")
    if validation is not None and (normals := normal_child(validation)) is not None:
        found.test_normals = list_normals(normals, problems)
    test, truth = child(product, "test"), child(product, "ground_truth")
    if test is None:
        problems.error(Kind.FOLDER_MISSING, product / "test", "expected a folder for each defect in it")
        return found
    without: list[str] = []
    for folder in folders(test):
        if is_normal_word(folder.name):
            found.test_normals += list_normals(folder, problems)
            continue
        masks = child(truth, folder.name) if truth is not None else None
        mask_files = list_masks(masks, problems) if masks is not None else []
        images, among = list_photographs(folder, problems)
        beside = [*((mask.stem, mask) for mask in among), *marks_beside(folder, images, problems)]
        if masks is None and not beside:
            without.append(folder.name)
        found.defects.append(pair_up(folder.name, images, mask_files, problems, beside))
    if truth is None and not any(defect.pairs for defect in found.defects):
        message = f"expected the masks, a folder for each defect. {WAY_ON}"
        problems.error(Kind.FOLDER_MISSING, product / "ground_truth", message)
    elif truth is not None:
        for name in without:
            problems.warn(Kind.FOLDER_MISSING, truth / name, f"expected the masks of {name}")
    pairs = [pair for defect in found.defects for pair in defect.pairs]
    found.weak = weak_masks(product, problems)
    if count := sum(1 for pair in pairs if pair.mask in found.weak):
        found.notes.append(f"{count} masks are boxes around defects, not their outlines ({WEAK_NAME})")
    known = {match_key(defect.label) for defect in found.defects}
    for folder in folders(truth) if truth is not None else []:
        if match_key(folder.name) not in known and not is_normal_word(folder.name):
            problems.warn(
                Kind.EXTRA_MASK, folder, f"expected images in {test / folder.name}, found no such folder"
            )
    return found


def list_normals(folder: Path, problems: Problems) -> list[Path]:
    """Return a folder's normal photographs; masks among them are told and left out."""
    images, masks = list_photographs(folder, problems)
    pair_up(GOOD, [], [], problems, [(mask.stem, mask) for mask in masks])
    return images
