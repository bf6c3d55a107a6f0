"""Where a product's photographs come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.printable import printable
from seas_train.data.layouts import find_product
from seas_train.data.layouts.found import folders, is_folder, unreadable

# seas_train.sample.PRODUCT, without importing it: photographs are looked for before anything heavy is loaded.
SAMPLE_PRODUCT = "bottle"
DATA = Path("data")


@dataclass(frozen=True)
class Source:
    """A product's folder, whether it is the sample, and that in words."""

    directory: Path
    sample: bool
    words: str


def find_source(product: str, data: Path | None, out: Path) -> Source:
    """Choose the photographs: in `data` where it is given, else in ./data, else the sample for `bottle`.

    Raises:
        UserError: there are none.
    """
    if data is not None:
        directory = find_product(data, product)
        if directory is None:
            raise UserError(
                f"--data {data}: expected the product's folder {data / product}, {_found(data, product)}"
            )
        return Source(directory, False, f"photographs in {printable(str(directory))} (--data)")
    if (directory := find_product(DATA, product)) is not None:
        return Source(directory, False, f"photographs in {printable(str(directory))}")
    if product == SAMPLE_PRODUCT:
        directory = out / "sample" / product
        return Source(directory, True, f"the sample product, rendered into {directory}; not photographs")
    raise UserError(
        f"--product {product}: expected its photographs in {DATA / product}, found no such folder. "
        f"Give the folder that {product} lies in: --data ROOT; or try the sample: --product {SAMPLE_PRODUCT}"
    )


def _found(data: Path, product: str) -> str:
    """What is there instead."""
    if not is_folder(data):
        return "found no such folder: --data itself does not exist. Give the folder that the products lie in."
    if data.name == product or is_folder(data / "train"):
        return (
            f"but {data} looks like the product itself. Give the folder that it lies in: --data {data.parent}"
        )
    if (reason := unreadable(data)) is not None:
        return f"but {data} cannot be read: {reason}. Let this user read it."
    names = [printable(folder.name) for folder in folders(data)]
    return f"found {', '.join(names[:10]) or 'no folders'} in {data}. Choose one of these, or another --data."
