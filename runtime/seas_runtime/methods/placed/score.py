"""How near a placed pair's region is to the product's real defects, in the U-Net's own features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Array, FloatArray
from seas_runtime.manifest.types import STEP, Manifest

FEATURES = "features"
"""The table: real defects' features [n, F] by defect."""
MOST_REAL = 256
_LEAST = 1e-6

BoolArray = npt.NDArray[np.bool_]


def features(tap_coarse: Array, mask: BoolArray) -> FloatArray:
    """Return how the U-Net sees what is under a mask against its surroundings, [2 C] f32.

    Of each channel of the coarse tap [C, h, w]: the mean and the deviation over the cells under the mask
    [H, W], each by how much of it the mask covers, less the window's mean and less its deviation, both in
    units of that deviation. Where nothing is special under the mask, all are near 0. ValueError for an empty
    mask.
    """
    tap = tap_coarse.astype(np.float64)
    cover = _coverage(mask, tap.shape[1:])
    if not cover.any():
        raise ValueError("expected a mask that is not empty")
    cover /= cover.sum()
    whole_mean = tap.mean(axis=(1, 2))
    whole = np.maximum(tap.std(axis=(1, 2)), _LEAST)
    mean = (tap * cover).sum(axis=(1, 2))
    deviation = np.sqrt((((tap - mean[:, None, None]) ** 2) * cover).sum(axis=(1, 2)))
    made: FloatArray = np.concatenate([(mean - whole_mean) / whole, deviation / whole - 1]).astype(np.float32)
    return made


def spacing(real: FloatArray) -> float:
    """Return how far real defects' features [n, F] lie from one another: the median way to the nearest.

    Of a single one, half its length is returned: half the way to a region where nothing is special.
    """
    if len(real) == 1:
        return max(float(_distances(np.zeros_like(real[0]), real)[0]) / 2, _LEAST)
    nearest = [_distances(one, np.delete(real, place, axis=0)).min() for place, one in enumerate(real)]
    return max(float(np.median(nearest)), _LEAST)


def score(feature: FloatArray, real: FloatArray, scale: float) -> float:
    """Return how near a region's features [F] are to those of real defects [n, F], 0 to 1.

    `scale` is what `spacing` gave of them. A region as far from the nearest real one as real ones are from
    one another has 1; at twice that, and at half of it, 0.5; a copy of a real one has 0, and so have
    features that are not finite.
    """
    distance = float(_distances(feature, real).min())
    if not 0 < distance < np.inf:
        return 0.0
    return min(distance / scale, scale / distance)


def check_features(file: str, tables: Mapping[str, Array], manifest: Manifest) -> None:
    """Refuse, by a UserError that names the file, features that do not fit the defects and the graph."""
    tap = manifest.graphs[STEP].output("tap_coarse")
    channels = tap.shape[1] if tap is not None and len(tap.shape) == 4 else None
    width = 2 * channels if isinstance(channels, int) else None
    for defect, array in tables.items():
        if defect not in manifest.defects:
            raise UserError(f"{file}: expected features of the bundle's defects, found {defect[:80]!r}")
        fits = array.ndim == 2 and 1 <= len(array) <= MOST_REAL and array.shape[1] > 0
        if array.dtype != np.float32 or not fits or (width is not None and array.shape[1] != width):
            raise UserError(
                f"{file}: {defect!r}: expected float32 [1 to {MOST_REAL}, {width or 'any'}], "
                f"found {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {defect!r}: expected finite values, found NaN or infinity")


def _coverage(mask: BoolArray, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return what fraction of each cell of a grid [h, w] a mask [H, W] covers.

    A grid that does not divide the mask has cells of unequal sizes.
    """
    result = mask.astype(np.float64)
    for axis, cells in enumerate(shape):
        edges = np.arange(cells + 1) * mask.shape[axis] // cells
        sums = np.insert(np.cumsum(result, axis=axis), 0, 0.0, axis=axis)
        result = np.diff(np.take(sums, edges, axis=axis), axis=axis)
        result /= np.maximum(np.diff(edges), 1).reshape([-1, 1] if axis == 0 else [1, -1])
    return result


def _distances(feature: FloatArray, others: FloatArray) -> npt.NDArray[np.float64]:
    """Return the root mean square of what `others` [n, F] differ from `feature` [F] by, [n]."""
    squares = np.square(others.astype(np.float64) - feature.astype(np.float64))
    return np.asarray(np.sqrt(squares.mean(axis=1)))
