"""How near a placed pair's region is to the product's real defects, in the U-Net's own features.

A pair's features are what the U-Net's coarse tap has, in the last step, under its mask. They are held against
those of real windows: of the defect's, and of normals under the defect's masks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Array, FloatArray
from seas_runtime.manifest.types import STEP, Manifest

FEATURES = "features"
"""The table: features [n, F] of real windows, by `defect` and by `normals_key(defect)`."""
MOST_REAL = 256
COPY = 0.5
"""A region nearer to a real one than this part of the usual way between real ones counts as its copy."""
_LEAST = 1e-6

BoolArray = npt.NDArray[np.bool_]


def normals_key(defect: str) -> str:
    """Return the key of the features of normals under a defect's masks; no defect has a `/` in its name."""
    return f"{defect}/good"


def features(tap_coarse: Array, mask: BoolArray) -> FloatArray:
    """Return the mean and the deviation of each channel of the coarse tap [C, h, w] under a mask, [2 C] f32.

    Each cell counts as far as the mask [H, W] covers it. ValueError for an empty mask.
    """
    tap = tap_coarse.astype(np.float64)
    cover = _coverage(mask, tap.shape[1:])
    if not cover.any():
        raise ValueError("expected a mask that is not empty")
    cover /= cover.sum()
    mean = (tap * cover).sum(axis=(1, 2))
    variance = (((tap - mean[:, None, None]) ** 2) * cover).sum(axis=(1, 2))
    made: FloatArray = np.concatenate([mean, np.sqrt(variance)]).astype(np.float32)
    return made


def score(feature: FloatArray, real: FloatArray, normals: FloatArray) -> float:
    """Return how near a region's features [F] are to those of real defects [n, F], 0 to 1.

    With d the way to the nearest real defect and g that to the nearest of `normals` [m, F], m >= 2, it is
    1 / (1 + (d / g)^4): 0.5 halfway between the two. A region nearer to a real one than half of the usual way
    from one real one to the next is a copy of it; its score falls with the way that is left, to 0. Ways are
    in units of each feature's deviation over the normals. Features that are not finite have 0.
    """
    if not np.isfinite(feature).all():
        return 0.0
    centre, unit = normals.mean(axis=0, dtype=np.float64), normals.std(axis=0, dtype=np.float64) + _LEAST
    feature, real, normals = ((values - centre) / unit for values in (feature, real, normals))
    nearest, normal = distances(feature, real).min(), max(distances(feature, normals).min(), _LEAST)
    copied = min(1.0, nearest / (COPY * _spacing(real, normals)))
    return float(copied / (1 + (nearest / normal) ** 4))


def pair_score(tables: Mapping[str, Array], defect: str, tap_coarse: Array, mask: BoolArray) -> float | None:
    """Return a pair's score by the tensors of a bundle's table; None where it has none of such defects.

    `tap_coarse` [C, h, w] is the step graph's output in the last step, `mask` [H, W] where the defect is; an
    empty one has 0.
    """
    if defect not in tables:
        return None
    if not mask.any():
        return 0.0
    return score(features(tap_coarse, mask), tables[defect], tables[normals_key(defect)])


def distances(feature: Array, others: Array) -> npt.NDArray[np.float64]:
    """Return the root mean square of what `others` [n, F] differ from `feature` [F] by, [n]."""
    squares = np.square(others.astype(np.float64) - feature.astype(np.float64))
    return np.asarray(np.sqrt(squares.mean(axis=1)))


def _spacing(real: Array, normals: Array) -> float:
    """Return the median way from one real defect to the next; of a single one, that to the nearest normal."""
    if len(real) == 1:
        return max(float(distances(real[0], normals).min()), _LEAST)
    nearest = [distances(one, np.delete(real, place, axis=0)).min() for place, one in enumerate(real)]
    return max(float(np.median(nearest)), _LEAST)


def check_features(file: str, tables: Mapping[str, Array], manifest: Manifest) -> None:
    """Refuse, by a UserError that names the file, features that do not fit the defects and the graph."""
    tap = manifest.graphs[STEP].output("tap_coarse")
    channels = tap.shape[1] if tap is not None and len(tap.shape) == 4 else None
    width = 2 * channels if isinstance(channels, int) else None
    for key, array in tables.items():
        defect = key.removesuffix(normals_key(""))
        if defect not in manifest.defects:
            raise UserError(f"{file}: expected features of the bundle's defects, found {key[:80]!r}")
        if missing := {defect, normals_key(defect)} - set(tables):
            raise UserError(f"{file}: expected {missing.pop()!r} beside {key!r}, found none")
        least = 1 if key == defect else 2
        fits = array.ndim == 2 and least <= len(array) <= MOST_REAL and array.shape[1] > 0
        width = width or (array.shape[1] if fits else None)
        if array.dtype != np.float32 or not fits or array.shape[1] != width:
            raise UserError(
                f"{file}: {key!r}: expected float32 [{least} to {MOST_REAL}, {width or 'any'}], "
                f"found {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {key!r}: expected finite values, found NaN or infinity")


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
