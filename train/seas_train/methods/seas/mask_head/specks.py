"""From which size on a part of a mask is a defect."""

from __future__ import annotations

import numpy as np

from seas_runtime.placement.morphology import largest_part
from seas_train.data import Product


def measure_speck(product: Product, share: float, seed: int) -> int:
    """Return `share`, 0 to 1, of the smallest training defect, in pixels of what the mask head sees.

    Of each training pair, or of a region of it, the largest connected part of the mask counts: specks of the
    pen do not, and of a defect of many parts none is lost. `seed`: what regions follow from.
    """
    if share == 0:
        return 0
    masks = (
        product.mask(pair, product.judged_pair(pair, seed).region)
        for defect in product.defects
        for pair in defect.train
    )
    sizes = [int(np.count_nonzero(largest_part(mask))) for mask in masks if mask.any()]
    return int(share * min(sizes, default=0))
