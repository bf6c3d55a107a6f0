"""Where the files of a product are: a reader for each folder layout, and telling them apart."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Protocol

from seas_runtime.errors import UserError
from seas_runtime.printable import printable
from seas_train.data.layouts import mvtec, mvtec3d, okng, visa
from seas_train.data.layouts.annotations import coco, labelme, voc, yolo
from seas_train.data.layouts.annotations.foreign import foreign_labels, has_images
from seas_train.data.layouts.annotations.shapes import import_command
from seas_train.data.layouts.found import (
    Found,
    FoundDefect,
    Pair,
    folders,
    is_folder,
    skip_unreadable,
    unreadable,
)
from seas_train.data.layouts.mask_files import copied_masks
from seas_train.data.names import find_by_name, product_name
from seas_train.data.problems import Kind, Problems

__all__ = [
    "LABEL_MAPS",
    "READERS",
    "Found",
    "FoundDefect",
    "Layout",
    "Pair",
    "choose_layout",
    "find_files",
    "find_product",
    "likely_layouts",
    "products_in",
]


class Layout(str, Enum):
    """A folder layout: three published ones, two of folders and masks, three of annotation tools."""

    MVTEC = "mvtec"
    VISA = "visa"
    MVTEC3D = "mvtec3d"
    OKNG = "okng"
    LABELME = "labelme"
    COCO = "coco"
    YOLO = "yolo"


class Reader(Protocol):
    """A module that reads one layout."""

    SIGNS: str
    """What folders and files it is known by."""

    def looks_like(self, product: Path) -> bool:
        """Whether a folder has this layout."""

    def find(self, product: Path, problems: Problems) -> Found:
        """List the product's files; what is out of place is added to `problems`."""


READERS: dict[Layout, Reader] = {
    Layout.MVTEC: mvtec,
    Layout.VISA: visa,
    Layout.MVTEC3D: mvtec3d,
    Layout.COCO: coco,
    Layout.YOLO: yolo,
    Layout.LABELME: labelme,
    Layout.OKNG: okng,
}
"""In the order in which they are tried after the published ones, which exclude each other."""
PUBLISHED = (Layout.MVTEC, Layout.VISA, Layout.MVTEC3D)
LABEL_MAPS = (Layout.VISA, Layout.MVTEC3D)
"""Their masks hold labels, of which all but 0 are defect."""


def find_files(product: Path, layout: Layout, problems: Problems) -> Found:
    """List the files of a product in the given layout; what is out of place is added to `problems`."""
    skip_unreadable(product, problems)
    found = READERS[layout].find(product, problems)
    _drop_copied_masks(found, problems)
    return found


def _drop_copied_masks(found: Found, problems: Problems) -> None:
    """Leave out photographs that are one of the masks, whatever they are called."""
    pairs = [pair for defect in found.defects for pair in defect.pairs]
    images = [*found.train_normals, *found.test_normals, *(pair.image for pair in pairs)]
    for copy in sorted(copies := copied_masks(images, [pair.mask for pair in pairs])):
        problems.warn(Kind.STRAY_MASK, copy, "is the same file as a mask; not used as a photograph")
    found.train_normals = [path for path in found.train_normals if path not in copies]
    found.test_normals = [path for path in found.test_normals if path not in copies]
    for defect in found.defects:
        defect.left_out += [pair.image for pair in defect.pairs if pair.image in copies]
        defect.pairs = [pair for pair in defect.pairs if pair.image not in copies]


def choose_layout(product: Path, layout: Layout | None) -> Layout:
    """Return the layout asked for, or the one the folder has.

    UserError where the folder is missing, where it has no layout that is known, or signs of more than one.
    """
    _require_folder(product)
    if layout is not None:
        return layout
    likely = likely_layouts(product)
    if len(likely) == 1:
        return likely[0]
    if likely:
        signs = "; ".join(f"{READERS[name].SIGNS} ({name.value})" for name in likely)
        raise UserError(
            f"{product}: expected one layout, found signs of {len(likely)}: {signs}. "
            f"Say which is meant with --layout {'|'.join(name.value for name in likely)}."
        )
    if products := products_in(product):
        raise UserError(
            f"{product}: expected a product, found a folder of products: {', '.join(products)}. "
            f"Name one, for example {product / products[0]}."
        )
    if (sentence := foreign_labels(product)) is not None:
        raise UserError(f"{product}: expected masks, found labels: {sentence}")
    if voc.looks_like(product):
        words = f"found {voc.SIGNS}, which are imported first: {import_command(product)}"
        raise UserError(f"{product}: expected masks, {words}")
    expected = "\n".join(f"  {name.value}: {reader.SIGNS}" for name, reader in READERS.items())
    hint = "Is this the product's own folder?"
    if has_images(product):
        hint = "Sort the photographs: normal ones into train/good, others into test/DEFECT, masks into "
        hint += "ground_truth/DEFECT."
    raise UserError(
        f"{product}: expected a product in one of these layouts\n{expected}\nfound {_inside(product)}. {hint}"
    )


def likely_layouts(product: Path) -> list[Layout]:
    """Return the layouts that a folder may have: one, unless it has signs of several published ones."""
    published = [name for name in PUBLISHED if READERS[name].looks_like(product)]
    others = (name for name in READERS if name not in PUBLISHED and READERS[name].looks_like(product))
    return published or [name for name in [next(others, None)] if name is not None]


def products_in(folder: Path, say: Callable[[str], object] = lambda text: None) -> list[str]:
    """Return the names of the folders inside that look like products, in natural order.

    `say` is told of each folder that cannot be read.
    """
    found = []
    for inside in folders(folder):
        if (reason := unreadable(inside)) is not None:
            say(f"warning: {printable(str(inside))}: the folder cannot be read, skipped: {reason}")
        elif likely_layouts(inside):
            found.append(inside.name)
    return found


def find_product(data: Path, product: str) -> Path | None:
    """Return the folder in `data` that a product's name or label means, None where there is none.

    Raises:
        UserError: it means several.
    """
    name = product.rstrip("/\\") or product
    if is_folder(data / name):
        return data / name
    found = find_by_name(name, [folder.name for folder in folders(data)], product_name)
    if len(found) > 1:
        raise UserError(
            f"--product {product}: expected one folder in {data}, found {', '.join(map(repr, found))}. "
            "Name one exactly."
        )
    return data / found[0] if found else None


def _require_folder(product: Path) -> None:
    if is_folder(product):
        if (reason := unreadable(product)) is not None:
            raise UserError(
                f"{product}: the folder cannot be read: {reason}. Let this user read and enter it."
            )
        return
    if os.path.lexists(product):
        raise UserError(
            f"{product}: expected a product's folder, found a file. Unpack it if it is an archive."
        )
    parent = product.parent
    if not is_folder(parent):
        raise UserError(f"{product}: no such folder, and {parent} does not exist either. Check the path.")
    near = products_in(parent)
    if not near:
        raise UserError(f"{product}: no such folder, and {parent} holds no products: {_inside(parent)}.")
    close = difflib.get_close_matches(product.name, near, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise UserError(f"{product}: no such folder. Products in {parent}: {', '.join(near)}.{hint}")


def _inside(folder: Path) -> str:
    """Describe a folder's content in a few words."""
    try:
        names = sorted(entry.name + ("/" if is_folder(entry) else "") for entry in folder.iterdir())
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror or error})"
    if not names:
        return "an empty folder"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
