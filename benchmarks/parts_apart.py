"""Writes a product's photographs anew so that no part is on both sides of the split.

Where a part was photographed several times, as each magnetic tile was in six lights, the first third of a
defect's photographs shows the same parts as the rest, and what is measured on the rest is memory. Photographs
are taken for one part's where their fine detail goes together: the correlation of 96 x 96 pixels between two
Gaussians of 1 and 8 pixels, at the best shift of up to 6; what goes together with one of a part is of it too.
That suits parts that each look different, not parts that are alike and photographed in one place.

    python benchmarks/parts_apart.py magnetic_tile --out magnetic_tile_apart

With `--shots N` no more than N pairs of each defect train, of as many parts as can be. What else shows those
parts is left out, so that what is held out stays the same: read such a folder with `--shots N`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.manifest.types import GOOD
from seas_train.data import load_product
from seas_train.data.layouts import Layout
from seas_train.data.regions import Regions
from seas_train.data.split import PhotographsConfig, training_pairs

SIDE, SHIFT = 96, 6
ALIKE = 0.6
"""Photographs of one part correlate by more; most others by less than 0.4."""
SHAPE = 0.15
"""Photographs whose sides' ratio differs by more, in its logarithm, are of two parts."""
_ALL = 10**9


def detail(path: Path) -> tuple[NDArray[np.complex128], float]:
    """Return the spectrum [96, 96] of a photograph's fine detail, and the logarithm of its sides' ratio."""
    with Image.open(path) as image:
        ratio = float(np.log(image.width / image.height))
        pixels = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    fine = ndimage.gaussian_filter(pixels, 1) - ndimage.gaussian_filter(pixels, 8)
    spread = fine.std()
    return np.fft.fft2((fine - fine.mean()) / (spread if spread > 0 else 1)), ratio


def parts_of(files: Sequence[Path]) -> list[list[int]]:
    """Return the numbers of the files of each part, largest part first."""
    details = [detail(path) for path in files]
    parts = np.arange(len(files))
    near = np.r_[0 : SHIFT + 1, -SHIFT:0]
    for one, (spectrum, ratio) in enumerate(details):
        for other, (second, other_ratio) in enumerate(details[:one]):
            if parts[one] == parts[other] or abs(ratio - other_ratio) > SHAPE:
                continue
            found = np.fft.ifft2(spectrum * np.conj(second)).real / SIDE**2
            if found[np.ix_(near, near)].max() > ALIKE:
                parts[parts == parts[one]] = parts[other]
    return sorted(
        (np.flatnonzero(parts == part).tolist() for part in np.unique(parts)),
        key=lambda one: (-len(one), one),
    )


def choose(parts: Sequence[Sequence[int]], wanted: int) -> list[int] | None:
    """Return the numbers of the parts that have `wanted` photographs together: as many parts as can be."""
    best: dict[int, list[int]] = {0: []}
    for number, part in reversed(list(enumerate(parts))):
        for total, chosen in list(best.items()):
            reached = total + len(part)
            if reached <= wanted and len(best.get(reached, ())) < len(chosen) + 1:
                best[reached] = [*chosen, number]
    return best.get(wanted)


def copy(files: Sequence[Path], folder: Path, ending: str = "") -> None:
    """Copy files as 000, 001 and so on."""
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copyfile(file, folder / f"{number:03d}{ending}{file.suffix}")


def turns(parts: Sequence[Sequence[int]]) -> list[int]:
    """Return all photographs, first one of each part, then a second one of each, and so on."""
    return [part[turn] for turn in range(max(map(len, parts))) for part in parts if turn < len(part)]


def main() -> None:
    """Write the product, and say how many parts of each kind are on either side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("product", type=Path, help="a folder in MVTec AD's layout")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shots", type=int, help="training pairs of each defect at most")
    given = parser.parse_args()
    if given.shots is not None and given.shots < 1:
        sys.exit(f"--shots: expected 1 or more, found {given.shots}")
    if given.out.exists():
        sys.exit(f"--out {given.out}: expected a folder that is not there yet, found one; choose another")
    every = PhotographsConfig(layout=Layout.MVTEC, normals=_ALL, regions=Regions.OFF)
    try:
        product = load_product(given.product, every, size=256)
    except UserError as error:
        sys.exit(str(error))
    for defect in product.defects:
        pairs = sorted([*defect.train, *defect.test], key=lambda pair: pair.image)
        files = [pair.image for pair in pairs]
        parts = parts_of(files)
        wanted = training_pairs(len(files), None)
        chosen = choose(parts, wanted)
        if chosen is None:
            sys.exit(f"{defect.name}: expected parts with {wanted} photographs together, found none: {parts}")
        training = [parts[number] for number in chosen]
        held_out = [part for number, part in enumerate(parts) if number not in chosen]
        shown = turns(training)[: given.shots]
        order = [*shown, *turns(held_out)]
        name = files[0].parent.name
        copy([files[number] for number in order], given.out / "test" / name)
        copy([pairs[number].mask for number in order], given.out / "ground_truth" / name, "_mask")
        print(
            f"{name}: {len(shown)} photographs of {min(len(training), len(shown))} parts train, "
            f"{len(files) - wanted} of {len(held_out)} are held out"
        )
    files = [*sorted(product.test_normals), *sorted(product.normals)]
    held, rest, room = [], [], len(product.test_normals)
    for part in reversed(parts_of(files)):
        if len(part) <= room:
            held.append(part)
            room -= len(part)
        else:
            rest.append(part)
    for side, parts in (("test", held), ("train", rest)):  # in an order that has nothing to do with parts
        copy(
            sorted((files[number] for part in parts for number in part), key=sha256_file),
            given.out / side / GOOD,
        )
    print(
        f"{GOOD}: {sum(map(len, rest))} photographs of {len(rest)} parts train, "
        f"{sum(map(len, held))} of {len(held)} are held out"
    )


if __name__ == "__main__":
    main()
