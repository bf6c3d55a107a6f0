"""The figures of scores of whole photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.measures.bootstrap import Difference, FloatArray, average_precision, differences
from seas_export.proof.measures.figures import rank

FIGURES = ("image_auroc", "image_ap")


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of P photographs, higher for defects, and which of them have one."""

    scores: FloatArray
    defective: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.bool_]) -> Scored:
        """Return some of the photographs [P]."""
        return Scored(self.scores[chosen], self.defective[chosen])

    def figures(self) -> dict[str, float]:
        """Return area under the ROC curve and average precision, by scikit-learn."""
        precision, area, _ = rank(self.scores, self.defective, np.ones(len(self.scores)))
        return {"image_auroc": area, "image_ap": precision}


def compare_scored(
    ours: Sequence[Scored], theirs: Sequence[Scored], groups: Sequence[str]
) -> list[Difference]:
    """Compare scores by both figures."""
    return differences(FIGURES, resampled, ours, theirs, groups)


def resampled(figure: str, scored: Scored, weights: FloatArray) -> FloatArray:
    """Return a figure [R] where photographs count as weights [R, P] say: scikit-learn's values."""
    defect = scored.defective
    if figure == "image_auroc":
        gap = scored.scores[defect][:, None] - scored.scores[~defect][None]
        above = (gap > 0) + 0.5 * (gap == 0)
        ours, normals = weights[:, defect], weights[:, ~defect]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(((ours @ above) * normals).sum(1) / (ours.sum(1) * normals.sum(1)))
    levels, place = np.unique(scored.scores, return_inverse=True)
    histograms = np.zeros((len(weights), 2, len(levels)))
    for index in range(len(place)):
        histograms[:, int(defect[index]), place[index]] += weights[:, index]
    return average_precision(histograms)
