"""Figures of pictures from features: Inception Score and KID by torch-fidelity, IC-LPIPS by definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
"""As torch-fidelity has them; of fewer pictures a subset is all there are of the smaller side."""
IS_SPLITS = 10
_SEED = 2020  # torch-fidelity's

FloatArray = NDArray[np.floating[Any]]


def inception_score(logits: FloatArray) -> float | None:
    """Return the Inception Score of a classifier's logits [N, K]; None of fewer pictures than two a split."""
    if len(logits) < 2 * IS_SPLITS:
        return None
    import torch

    metric_isc = _fidelity("metric_isc")
    found = metric_isc.isc_features_to_metric(torch.from_numpy(np.asarray(logits)), IS_SPLITS, True, _SEED)
    return float(found[metric_isc.KEY_METRIC_ISC_MEAN])


def kernel_distance(made: FloatArray, real: FloatArray) -> float | None:
    """Return KID of features [N, D] and [M, D]: the unbiased estimate, polynomial kernel of degree 3, mean
    over subsets. None of fewer than two pictures."""
    size = min(KID_SUBSET_SIZE, len(made), len(real))
    if size < 2:
        return None
    import torch

    metric_kid = _fidelity("metric_kid")
    found = metric_kid.kid_features_to_metric(
        torch.from_numpy(np.asarray(made, np.float64)),
        torch.from_numpy(np.asarray(real, np.float64)),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=size,
        rng_seed=_SEED,
        verbose=False,
    )
    return float(found[metric_kid.KEY_METRIC_KID_MEAN])


def cluster_diversity(to_real: FloatArray, among: FloatArray) -> float | None:
    """Return the mean pairwise distance within clusters (IC-LPIPS: Ojha et al. 2021), mean over clusters.

    to_real: distances [N, M] of generated pictures to training pictures: each joins its nearest. among:
    [N, N] between generated ones. Clusters of a single picture have no pair and do not count; None without
    others.
    """
    nearest = to_real.argmin(axis=1)
    clusters = [np.flatnonzero(nearest == cluster) for cluster in np.unique(nearest)]
    found = [mean_pairwise(among[np.ix_(own, own)]) for own in clusters if len(own) > 1]
    return float(np.mean(found)) if found else None


def mean_pairwise(among: FloatArray) -> float:
    """Return the mean distance of two pictures of their distances [N, N]; there are two at least."""
    return float(among[np.triu_indices(len(among), 1)].mean())


def layer_distances(ours: list[FloatArray], theirs: list[FloatArray]) -> FloatArray:
    """Return distances [N, M] of pictures by their layers, each [N, C, h, w] and [M, C, h, w].

    LPIPS (Zhang et al. 2018) with weights of one: features of each place are scaled to length one, squared
    differences are summed over channels, averaged over places and summed over layers.
    """
    total = np.zeros((len(ours[0]), len(theirs[0])))
    for one, other in zip(ours, theirs, strict=True):
        first, second = _unit(one), _unit(other)
        places = one.shape[2] * one.shape[3]
        both = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
        total += np.maximum(both, 0) / places
    return total


def _unit(layer: FloatArray) -> FloatArray:
    """Return features [N, C * h * w] of length one at each place."""
    lengths = np.sqrt((layer.astype(np.float64) ** 2).sum(1, keepdims=True))
    return np.asarray((layer / (lengths + 1e-10)).reshape(len(layer), -1))


def _fidelity(module: str) -> Any:
    """Return a module of torch-fidelity; UserError where it is not installed."""
    import importlib

    from seas_train.proof.segmenters.vision_ops import declare_vision_ops, not_installed

    declare_vision_ops()
    try:
        return importlib.import_module(f"torch_fidelity.{module}")
    except ImportError as error:
        raise not_installed("torch-fidelity", error) from error
