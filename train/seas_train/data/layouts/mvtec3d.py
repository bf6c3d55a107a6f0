"""MVTec 3D AD: PRODUCT/{train,validation,test}/{good,DEFECT}/{rgb,gt,xyz}/NNN.*, without its point clouds."""

from __future__ import annotations

from pathlib import Path

from seas_runtime.manifest.types import GOOD
from seas_train.data.layouts.found import Found, child, folders, list_masks, list_photographs, pair_up
from seas_train.data.layouts.mvtec import list_normals
from seas_train.data.names import match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "train/good/rgb, test/DEFECT/rgb and test/DEFECT/gt"


def looks_like(product: Path) -> bool:
    """Whether a train or test folder holds a folder with an rgb folder inside."""
    halves = [half for name in ("train", "test") if (half := child(product, name)) is not None]
    return any(child(inner, "rgb") is not None for half in halves for inner in folders(half))


def find(product: Path, problems: Problems) -> Found:
    """List the product's normals (validation ones are for testing), images and masks."""
    found = Found()
    good = child(product, "train", GOOD, "rgb")
    if good is None:
        problems.error(
            Kind.FOLDER_MISSING, product / "train" / GOOD / "rgb", "expected the folder of normal images"
        )
    else:
        found.train_normals = list_normals(good, problems)
    validation = child(product, "validation", GOOD, "rgb")
    if validation is not None:
        found.test_normals = list_normals(validation, problems)
    test = child(product, "test")
    if test is None:
        problems.error(Kind.FOLDER_MISSING, product / "test", "expected a folder for each defect in it")
        return found
    for folder in folders(test):
        rgb, masks = child(folder, "rgb"), child(folder, "gt")
        if rgb is None:
            problems.warn(Kind.FOLDER_MISSING, folder / "rgb", f"expected the images of {folder.name}")
        elif match_key(folder.name) == GOOD:
            found.test_normals = list_normals(rgb, problems) + found.test_normals
        if match_key(folder.name) == GOOD:
            continue
        if masks is None:
            problems.warn(Kind.FOLDER_MISSING, folder / "gt", f"expected the masks of {folder.name}")
        images, among = list_photographs(rgb, problems) if rgb is not None else ([], [])
        mask_files = list_masks(masks, problems) if masks is not None else []
        beside = [(mask.stem, mask) for mask in among]
        found.defects.append(pair_up(folder.name, images, mask_files, problems, beside))
    return found
