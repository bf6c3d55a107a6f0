"""Where the files of a product are: a reader for each published folder layout, and telling them apart."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from seas_runtime.errors import UserError
from seas_train.data.layouts import mvtec, mvtec3d, visa
from seas_train.data.layouts.found import Found, FoundDefect, Pair, folders
from seas_train.data.problems import Problems

__all__ = ["Found", "FoundDefect", "Layout", "Pair", "choose_layout", "find_files", "products_in"]


class Layout(str, Enum):
    """A published folder layout."""

    MVTEC = "mvtec"
    VISA = "visa"
    MVTEC3D = "mvtec3d"


FIND: dict[Layout, Callable[[Path, Problems], Found]] = {
    Layout.MVTEC: mvtec.find,
    Layout.VISA: visa.find,
    Layout.MVTEC3D: mvtec3d.find,
}
LOOKS_LIKE: dict[Layout, Callable[[Path], bool]] = {
    Layout.MVTEC: mvtec.looks_like,
    Layout.VISA: visa.looks_like,
    Layout.MVTEC3D: mvtec3d.looks_like,
}
SIGNS = {
    Layout.MVTEC: "train/good, test/DEFECT and ground_truth/DEFECT",
    Layout.VISA: "Data/Images and Data/Masks",
    Layout.MVTEC3D: "train/good/rgb, test/DEFECT/rgb and test/DEFECT/gt",
}


def find_files(product: Path, layout: Layout, problems: Problems) -> Found:
    """List the files of a product in the given layout; what is out of place is added to `problems`."""
    return FIND[layout](product, problems)


def choose_layout(product: Path, layout: Layout | None) -> Layout:
    """Return the layout asked for, or the one the folder has.

    UserError where the folder is missing, where it has no layout that is known, or signs of more than one.
    """
    _require_folder(product)
    if layout is not None:
        return layout
    likely = [name for name, looks_like in LOOKS_LIKE.items() if looks_like(product)]
    if len(likely) == 1:
        return likely[0]
    if likely:
        signs = "; ".join(f"{SIGNS[name]} ({name.value})" for name in likely)
        raise UserError(
            f"{product}: expected one layout, found signs of {len(likely)}: {signs}. "
            f"Say which is meant with --layout {'|'.join(name.value for name in likely)}."
        )
    if products := products_in(product):
        raise UserError(
            f"{product}: expected a product, found a folder of products: {', '.join(products)}. "
            f"Name one, for example {product / products[0]}."
        )
    expected = "\n".join(f"  {name.value}: {signs}" for name, signs in SIGNS.items())
    raise UserError(
        f"{product}: expected a product in one of these layouts\n{expected}\n"
        f"found {_inside(product)}. Is this the product's own folder?"
    )


def products_in(folder: Path) -> list[str]:
    """Return the names of the folders inside that look like products, in natural order."""
    inside = folders(folder)
    return [f.name for f in inside if any(looks_like(f) for looks_like in LOOKS_LIKE.values())]


def _require_folder(product: Path) -> None:
    if product.is_dir():
        return
    if product.exists():
        raise UserError(
            f"{product}: expected a product's folder, found a file. Unpack it if it is an archive."
        )
    parent = product.parent
    if not parent.is_dir():
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
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror or error})"
    if not names:
        return "an empty folder"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
