"""The held-out photographs of a product, split once: a half to try things on, a half to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file
from seas_runtime.manifest.types import GOOD
from seas_runtime.placement.morphology import box_of

if TYPE_CHECKING:
    from seas_train.data import Product
    from seas_train.proof.pictures import Pictures, Sample

REGIONS_SIDE, WHOLE_SIDE = 800, 320
"""Longer side in pixels that photographs are shrunk to for segmenters, where they are larger: of products
that are trained on regions, and of others."""
THINNEST = 8
"""Pixels that the shorter side of a small defect keeps when photographs are shrunk."""
_SMALL = 0.1
"""The share of the training defects that are smaller than a small one."""


class Half(str, Enum):
    """Parts of the held-out photographs."""

    DEVELOPMENT = "development"  # for everything that is tried
    TEST = "test"  # measured once, at the end
    ALL = "all"


def real_pairs(product: Product, scale: float) -> tuple[Sample, ...]:
    """Return the pairs that train, as segmenters see them."""
    from seas_train.proof.pictures import Sample

    weak = weak_files(product.root)
    return tuple(
        Sample(pair.image, pair.mask, defect.name, scale, weak=pair.mask.resolve() in weak)
        for defect in product.defects
        for pair in defect.train
    )


def weak_files(folder: Path) -> set[Path]:
    """Return the masks in a product's folder that its `weak.json` says to be boxes."""
    from seas_train.data.layouts.mask_files import weak_masks
    from seas_train.data.problems import Problems

    return {mask.resolve() for mask in weak_masks(folder, Problems())}


def real_normals(product: Product, scale: float) -> tuple[Sample, ...]:
    """Return the normals that train."""
    from seas_train.proof.pictures import Sample

    return tuple(Sample(path, None, GOOD, scale) for path in product.normals)


def held_out(product: Product, scale: float, half: Half) -> tuple[Sample, ...]:
    """Return the held-out photographs of a half, defects in their order, normals last.

    Of each defect and of the normals, every second one is of the other half, in the order of the files'
    hashes. Raises UserError where there is no pair, or no normal to find false alarms on.
    """
    from seas_train.proof.pictures import Sample

    found: list[Sample] = []
    for defect in product.defects:
        pairs = [Sample(pair.image, pair.mask, defect.name, scale) for pair in defect.test]
        found += _of_half(pairs, half)
    if not found:
        raise UserError(
            f"{product.root}: expected pairs beyond those that train, to test on, found none in the half "
            f"{half.value}; add photographs, train on fewer with --shots, or take --half all"
        )
    normals = _of_half([Sample(path, None, GOOD, scale) for path in product.test_normals], half)
    if not normals:
        raise UserError(
            f"{product.root}: expected normals beyond those that train, to test on, found none in the half "
            f"{half.value}; add some (test/good), train on fewer with --normals, or take --half all"
        )
    return (*found, *normals)


def _of_half(samples: Sequence[Sample], half: Half) -> list[Sample]:
    """Return those of a half, in the order of their hashes."""
    order = sorted(samples, key=lambda sample: sha256_file(sample.image))
    return order if half is Half.ALL else order[0 if half is Half.TEST else 1 :: 2]


def choose_scale(product: Product, pictures: Pictures) -> float:
    """Return by how much photographs are shrunk for segmenters: 1 where they are small, or defects fine.

    A product that is trained on regions has defects that whole pictures would lose: its photographs keep
    their resolution up to a longer side of 800 pixels, and beyond it as much as its small defects need.
    """
    pairs = real_pairs(product, 1.0)
    sides, thin = [], []
    for sample in pairs:
        marked = pictures.marking(sample)
        sides.append(max(marked.shape))
        if marked.any():
            top, left, bottom, right = box_of(marked)
            thin.append(min(bottom - top, right - left))
    wanted = (WHOLE_SIDE if product.regions is None else REGIONS_SIDE) / median(sides)
    if product.regions is not None and thin:
        wanted = max(wanted, THINNEST / float(np.quantile(thin, _SMALL)))
    return float(min(1.0, round(wanted, 3)))


def rescaled(samples: Sequence[Sample], factor: float) -> tuple[Sample, ...]:
    """Return samples at another scale."""
    return tuple(replace(sample, scale=sample.scale * factor) for sample in samples)
