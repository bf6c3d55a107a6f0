"""From which size on a part of a mask is a defect."""

from __future__ import annotations

import numpy as np

from seas_runtime.placement.morphology import connected_parts
from seas_train.data import Product

SPECK = "speck"
"""The key of a checkpoint's section `generation`: connected parts of fewer pixels are dropped from masks."""


def measure_speck(product: Product, share: float, seed: int) -> int:
    """Return `share`, 0 to 1, of the smallest training defect, in pixels of what the mask head sees.

    Of each training pair, or of a region of it, the largest connected part of the mask counts: specks of the
    pen do not, and of a defect of many parts none is lost. `seed`: what regions follow from.
    """
    if share == 0:
        return 0
    sizes = []
    for pair in (pair for defect in product.defects for pair in defect.train):
        labels, count = connected_parts(product.mask(pair, product.judged_pair(pair, seed).region))
        if count:
            sizes.append(int(np.bincount(labels.ravel())[1:].max()))
    return int(share * min(sizes, default=0))
