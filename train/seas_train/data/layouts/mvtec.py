"""MVTec AD: PRODUCT/train/good, PRODUCT/test/{good,DEFECT}, PRODUCT/ground_truth/DEFECT/NNN_mask.png."""

from __future__ import annotations

from pathlib import Path

from seas_runtime.manifest.types import GOOD
from seas_train.data.layouts.found import Found, child, folders, list_images, pair_up
from seas_train.data.names import match_key
from seas_train.data.problems import Kind, Problems


def looks_like(product: Path) -> bool:
    """Whether a train, test or ground_truth folder holds folders with images directly inside."""
    if child(product, "ground_truth") is not None:
        return True
    halves = [half for name in ("train", "test") if (half := child(product, name)) is not None]
    return any(child(inner, "rgb") is None for half in halves for inner in folders(half))


def find(product: Path, problems: Problems) -> Found:
    """List the product's normals, images and masks; whatever has no place in the layout is reported."""
    found = Found()
    good = child(product, "train", GOOD)
    if good is None:
        problems.error(Kind.FOLDER_MISSING, product / "train" / GOOD, "expected the folder of normal images")
    else:
        found.train_normals = list_images(good, problems)
        for other in folders(good.parent):
            if other != good:
                problems.warn(Kind.IGNORED, other, "only train/good is read for training")
    test, truth = child(product, "test"), child(product, "ground_truth")
    if test is None:
        problems.error(Kind.FOLDER_MISSING, product / "test", "expected a folder for each defect in it")
        return found
    if truth is None:
        problems.error(
            Kind.FOLDER_MISSING, product / "ground_truth", "expected the masks, a folder for each defect"
        )
    for folder in folders(test):
        if match_key(folder.name) == GOOD:
            found.test_normals = list_images(folder, problems)
            continue
        masks = child(truth, folder.name) if truth is not None else None
        if truth is not None and masks is None:
            problems.warn(Kind.FOLDER_MISSING, truth / folder.name, f"expected the masks of {folder.name}")
        mask_files = list_images(masks, problems) if masks is not None else []
        found.defects.append(pair_up(folder.name, list_images(folder, problems), mask_files, problems))
    known = {match_key(defect.label) for defect in found.defects} | {GOOD}
    for folder in folders(truth) if truth is not None else []:
        if match_key(folder.name) not in known:
            problems.warn(
                Kind.EXTRA_MASK, folder, f"expected images in {test / folder.name}, found no such folder"
            )
    return found
