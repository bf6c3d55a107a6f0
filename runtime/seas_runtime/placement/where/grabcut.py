"""The part's outline by OpenCV's GrabCut, where the extra `opencv` is installed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.installing.advice import install
from seas_runtime.placement.morphology import BoolArray, fill_holes, grow, largest_part
from seas_runtime.placement.where.foreground import Part, reduced_picture

ROUNDS = 5
UNSURE = 12
"""Pixels, at the small size, on either side of the outline by colour that GrabCut decides about."""


def refine_part(pixels: npt.NDArray[np.uint8], part: Part) -> Part:
    """Return the part on a photograph [H, W, 3] with its outline found anew (Rother et al. 2004).

    Without a background, or where nothing is left, it stays as it is. Raises UserError where OpenCV is not
    installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"--where grabcut: needs OpenCV, which is not installed here: {install('opencv')}"
        ) from error
    if part.mask.size == 1:
        return part
    small = np.ascontiguousarray(reduced_picture(pixels)[..., ::-1])
    mask = part.mask
    outside = ~grow(mask, UNSURE)
    inside = ~grow(np.pad(~mask, 1, constant_values=True), UNSURE)[1:-1, 1:-1]
    state = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[outside], state[inside] = cv2.GC_BGD, cv2.GC_FGD
    if not (outside.any() and inside.any()):
        return part
    cv2.setRNGSeed(0)
    cv2.grabCut(small, state, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    found: BoolArray = fill_holes(largest_part((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)))
    return Part(found) if found.any() else part
