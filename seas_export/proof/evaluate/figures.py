"""The figures of one kind of picture: a defect, or normals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seas_export.proof.evaluate.features import Network
from seas_export.proof.evaluate.formulas import cluster_diversity, inception_score, kernel_distance
from seas_export.proof.evaluate.seen import Seen, augmented
from seas_runtime.dataset.formats.shapes.regions import find_regions
from seas_runtime.placement.appearance.grain import mean_around
from seas_runtime.placement.morphology import BoolArray, grow

_GAP, _REACH = 2, 12
"""Pixels beside a mask's outline that are neither side's, and how far its surroundings reach."""
_LEAST = 16
"""Pixels of a side from which on it is measured."""

Figures = dict[str, float | None]


def picture_figures(network: Network, made: Seen, real: Seen, training: Seen) -> Figures:
    """Return a network's figures by name, such as `kid[efficientnet-lite0]`; None where pictures are too few.

    made: generated; real: all real ones; training: those that the generator saw.
    """
    found: Figures = {}
    ours = network.describe(made.pictures)
    if ours is not None:
        theirs = network.describe(real.pictures)
        assert theirs is not None
        found[_named("is", network)] = inception_score(ours.logits)
        found[_named("kid", network)] = kernel_distance(ours.pooled, theirs.pooled)
    diversity = _diversity(network, made.pictures, training.pictures)
    if diversity is not None:
        found[_named("ic-lpips", network)] = diversity[0]
        if made.masks:
            alone = _diversity(network, made.alone(), training.alone())
            found[_named("ic-lpips(a)", network)] = None if alone is None else alone[0]
        found[_named("copies", network)] = diversity[1]
    return found


def _diversity(
    network: Network, made: Sequence[Any], training: Sequence[Any]
) -> tuple[float | None, float] | None:
    """Return IC-LPIPS and the share of copies; None for a network that measures no distances.

    A picture is a copy where its nearest training picture is nearer than half of that picture's own slight
    changes (`augmented`) are.
    """
    if not made or not training or (to_real := network.distances(made, training)) is None:
        return None
    among = network.distances(made, made)
    assert among is not None
    own = []
    for picture in training:
        changed = network.distances([picture], augmented([picture]))
        assert changed is not None
        own.append(float(np.median(changed)))
    nearest = to_real.argmin(axis=1)
    copies = to_real[np.arange(len(made)), nearest] < np.array(own)[nearest]
    return cluster_diversity(to_real, among), float(copies.mean())


def mask_figures(masks: Sequence[BoolArray]) -> dict[str, Any]:
    """Return of masks, each on its whole picture, the share of the picture, the parts, and where they lie.

    Quantiles of 10, 50 and 90 %; places are the parts' middles, 0 to 1 down and across.
    """
    shares, counts, places = [], [], []
    for mask in masks:
        regions = find_regions(mask)
        shares.append(float(mask.mean()))
        counts.append(len(regions))
        places += [
            ((one.top + one.height / 2) / mask.shape[0], (one.left + one.width / 2) / mask.shape[1])
            for one in regions
        ]
    if not shares:
        return {"count": 0, "share": None, "parts": None, "place": None}
    middle = np.array(places) if places else np.zeros((0, 2))
    return {
        "count": len(shares),
        "share": _quantiles(shares),
        "parts": _quantiles(counts),
        "place": {"down": _quantiles(middle[:, 0]), "across": _quantiles(middle[:, 1])} if places else None,
    }


def surface_figures(seen: Seen) -> dict[str, Any]:
    """Return how defects differ from what lies around them, as quantiles of 10, 50 and 90 %.

    contrast: how far the mean within the mask is from the mean around, in levels of 8 bits. grain: the mean
    difference of a pixel from the mean of its nine, within by around: what was drawn is often smoother than
    what a camera saw. None where masks are too small, or fill their pictures.
    """
    contrasts, grains = [], []
    for picture, mask in zip(seen.pictures, seen.masks, strict=True):
        levels = picture.astype(np.float32).mean(-1)
        inner = ~grow(~mask, _GAP)
        inside = inner if inner.sum() >= _LEAST else mask
        around = grow(mask, _REACH) & ~grow(mask, _GAP)
        if min(inside.sum(), around.sum()) < _LEAST:
            continue
        contrasts.append(abs(float(levels[inside].mean() - levels[around].mean())))
        fine = np.abs(levels - mean_around(levels))
        if fine[around].mean() > 0:
            grains.append(float(fine[inside].mean() / fine[around].mean()))
    return {
        "contrast": _quantiles(contrasts) if contrasts else None,
        "grain": _quantiles(grains) if grains else None,
    }


def _quantiles(values: Any) -> list[float]:
    return [round(float(value), 6) for value in np.quantile(np.asarray(values, float), [0.1, 0.5, 0.9])]


def _named(figure: str, network: Network) -> str:
    return f"{figure}[{network.name}]" if network.name else figure
