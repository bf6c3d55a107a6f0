"""The ways back into a photograph: a feather, or Poisson blending where the extra `opencv` is installed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.installing.advice import install
from seas_runtime.photographs.values import Pixels, Values
from seas_runtime.placement.morphology import BoolArray
from seas_runtime.placement.paste import CELL, FloatArray, feather, paste
from seas_runtime.placement.regions import Region, resize_pixels


def blend(
    poisson: bool,
    pixels: Pixels,
    region: Region,
    drawn: npt.NDArray[np.uint8],
    mask: BoolArray,
    values: Values,
    opaque: bool | None = None,
    rebuilt: npt.NDArray[np.uint8] | None = None,
) -> tuple[Pixels, FloatArray]:
    """Return a photograph with what was drawn, and where it is from; as `paste`.

    With `poisson` the drawn is first brought to the photograph's brightness along the feather's edge (Pérez
    et al. 2003). Raises UserError where OpenCV is not installed.
    """
    if poisson:
        return paste(
            pixels, region, _poisson(pixels, region, drawn, mask, values, opaque), mask, values, opaque
        )
    return paste(pixels, region, drawn, mask, values, opaque, rebuilt)


def _poisson(
    pixels: Pixels,
    region: Region,
    drawn: npt.NDArray[np.uint8],
    mask: BoolArray,
    values: Values,
    opaque: bool | None,
) -> npt.NDArray[np.uint8]:
    """Return the drawn [S, S, 3] with its gradients, and the photograph's values around the feather."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--blend poisson: needs OpenCV, which is not installed here: {install('opencv')}"
        ) from error
    side = drawn.shape[0]
    window = resize_pixels(values.to_rgb8(region.cut(pixels), opaque), side)
    inside = np.where(feather(mask, side, CELL * side / mask.shape[0]) > 0, np.uint8(255), np.uint8(0))
    return cloned(drawn, window, inside)


def cloned(
    source: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], inside: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Return the source [H, W, 3] with its gradients where `inside` [H, W], 255 or 0, is, and the target
    around it (OpenCV's seamlessClone, which must be installed); the source where that is nowhere.

    The outermost pixels are the target's.
    """
    import cv2

    inside[[0, -1], :] = inside[:, [0, -1]] = 0  # OpenCV needs values around it
    if not inside.any():
        return source
    left, top, width, height = cv2.boundingRect(inside)
    centre = (left + width // 2, top + height // 2)
    made: npt.NDArray[np.uint8] = cv2.seamlessClone(source, target, inside, centre, cv2.NORMAL_CLONE)
    return made
