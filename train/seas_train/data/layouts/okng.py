"""A folder for normal images and one for each defect, as factories sort them: OK and NG, 0 and 1.

Beside each other, or in train, val and test. Masks lie in a folder of masks (one for all, or a folder a
defect), in a folder `masks` inside the defect's, or among the photographs.
"""

from __future__ import annotations

from pathlib import Path

from seas_train.data.layouts.annotations.shapes import WAY_ON
from seas_train.data.layouts.found import (
    Found,
    FoundDefect,
    child,
    entries,
    folders,
    is_normal_word,
    list_masks,
    list_photographs,
    normal_child,
    pair_up,
)
from seas_train.data.layouts.mask_files import photograph_key
from seas_train.data.names import is_image_name, match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "OK (or good, normal, pass, 0) and NG (or a folder a defect) with masks"
SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
MASKS = ("ground_truth", "groundtruth", "masks", "mask", "gt", "labels", "label", "annotations", "seg")
IMAGES = ("images", "image", "imgs", "img", "rgb")


def looks_like(product: Path) -> bool:
    """Whether a folder of normal images lies inside, or in a training folder inside."""
    normals = [normal_child(place) for place in (product, child(product, "train")) if place is not None]
    return any(
        is_image_name(entry)
        for normal in normals
        if normal is not None
        for entry in entries(_images_of(normal))
    )


def find(product: Path, problems: Problems) -> Found:
    """List normals, and the images and masks of every other folder."""
    found = Found()
    places = [product, *(folder for folder in folders(product) if match_key(folder.name) in SPLITS)]
    roots = [folder for place in places for folder in folders(place) if match_key(folder.name) in MASKS]
    defects: dict[str, FoundDefect] = {}
    for place in places:
        for folder in folders(place):
            if match_key(folder.name) in (*MASKS, *SPLITS) or _is_masks_of(folder):
                continue
            images, beside = list_photographs(_images_of(folder), problems)
            if folder == normal_child(place) or is_normal_word(folder.name):
                tests = place is not product and not match_key(place.name).startswith("train")
                (found.test_normals if tests else found.train_normals).extend(images)
                beside_of_normals = [(mask.stem, mask) for mask in beside]
                pair_up(folder.name, [], [], problems, beside_of_normals)
                continue
            masks = _masks_of(folder, images, roots, problems)
            defect = pair_up(folder.name, images, masks, problems, [(mask.stem, mask) for mask in beside])
            same = defects.setdefault(match_key(folder.name), FoundDefect(folder.name))
            same.pairs += defect.pairs
            same.left_out += defect.left_out
    found.one_pool = not found.test_normals
    found.defects = list(defects.values())
    if defects and not any(defect.pairs for defect in defects.values()):
        names = ", ".join(defect.label for defect in defects.values())
        problems.error(
            Kind.FOLDER_MISSING, product / "masks", f"expected masks of {names}, found none. {WAY_ON}"
        )
    return found


def _images_of(folder: Path) -> Path:
    """The folder of a heading's photographs: one inside of a usual name, or itself."""
    return next((inside for word in IMAGES if (inside := child(folder, word)) is not None), folder)


def _is_masks_of(folder: Path) -> bool:
    """Whether a folder holds the masks of the folder beside it that it is named after: NG_masks beside NG."""
    siblings = [match_key(other.name) for other in folders(folder.parent)]
    return photograph_key(
        folder.name, [name for name in siblings if name != match_key(folder.name)]
    ) != match_key(folder.name)


def _masks_of(
    folder: Path, images: list[Path], roots: list[Path], problems: Problems
) -> list[tuple[str, Path]]:
    """The masks of a defect's folder, from the first place that has some."""
    own = [inside for word in MASKS if (inside := child(folder, word)) is not None]
    named = [other for other in folders(folder.parent) if _is_masks_of(other) and _named_after(other, folder)]
    ways = ((folder.name,), (folder.parent.name, folder.name))
    below = [inside for root in roots for way in ways if (inside := child(root, *way)) is not None]
    for place in (*own, *named, *below):
        if masks := list_masks(place, problems):
            return masks
    keys = [match_key(image.stem) for image in images]
    return [  # masks of all defects in one folder
        (entry.stem, entry)
        for root in roots
        for entry in entries(root)
        if is_image_name(entry) and photograph_key(entry.stem, keys) in keys
    ]


def _named_after(masks: Path, folder: Path) -> bool:
    return photograph_key(masks.name, [match_key(folder.name)]) == match_key(folder.name)
