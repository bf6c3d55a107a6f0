"""Decides from a product's masks and photographs whether it is trained on regions, and measures those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from seas_train.data.facts import ImageFacts, MaskFacts
from seas_train.data.facts.sizes import DefectSize, defect_size
from seas_train.data.images import Preprocessing
from seas_train.data.images.fit import fitted_scale
from seas_train.data.regions.decide import decide, gain, judged_side, smallest
from seas_train.data.report import RegionsFound
from seas_train.data.split import PhotographsConfig


def decide_regions(
    masks: Mapping[str, Sequence[MaskFacts]],
    images: Iterable[ImageFacts],
    preprocessing: Preprocessing,
    config: PhotographsConfig,
    latent_factor: int,
) -> RegionsFound:
    """Return whether a product is trained on regions, and why; see `seas_train.data.regions.decide`.

    Args:
        masks: of each defect those that mark something.
        images: of the product's photographs.
        preprocessing: how whole pictures would be fitted.
        config: what is asked for.
        latent_factor: pixels of a latent cell's side.
    """

    def scale(size: tuple[int, int]) -> float:
        return min(fitted_scale(size, preprocessing))

    medians, gains = {}, {}
    for label, found in masks.items():
        if found:
            medians[label] = float(np.median([facts.fits[preprocessing.fit].area for facts in found]))
            gains[label] = float(
                np.median(
                    [
                        gain(
                            f.parts,
                            f.image_size,
                            preprocessing.size,
                            scale(f.image_size),
                        )
                        for f in found
                    ]
                )
            )
    scales = [scale(facts.size) for facts in images if facts.broken is None]
    decision = decide(config.regions, medians, gains, scales, latent_factor**2)
    options = config.region_options.to_dict() if decision.on else {}
    return RegionsFound(decision.on, decision.why, options=options)


def region_sizes(masks: Mapping[str, Sequence[MaskFacts]], size: int, latent_factor: int) -> list[DefectSize]:
    """Measure each defect by its masks' smallest parts, in the regions that masks are judged on.

    Args:
        masks: of each defect, one or more.
        size: the side of the base's pictures.
        latent_factor: pixels of a latent cell's side.
    """
    made = []
    for label, found in masks.items():
        areas = {}
        for facts in found:
            part = smallest(facts.parts)
            areas[facts.path] = part.pixels * (size / judged_side(part, facts.image_size, size)) ** 2
        made.append(defect_size(label, areas, latent_factor))
    return made
