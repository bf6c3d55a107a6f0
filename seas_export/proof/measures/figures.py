"""The figures of a test, from what was counted on its photographs; ranking figures are scikit-learn's."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.measures.counts import LEVELS, Counts
from seas_runtime.errors import UserError
from seas_runtime.installing.advice import install

TITLES = {
    "iou": "IoU",
    "ap": "pixel AP",
    "auroc": "pixel AUROC",
    "f1_max": "F1-max",
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_auroc_pooled": "image AUROC, pooled map",
    "image_ap_pooled": "image AP, pooled map",
    "detected": "defects detected",
    "false_regions": "false regions a normal",
    "accuracy": "accuracy",
    "balanced": "accuracy, mean over defects",
}


@dataclass(frozen=True)
class Figures:
    """What a segmenter finds. Shares of 0 to 1 but for `false_regions`; None where it cannot be measured."""

    iou: float | None
    """Pooled over pixels, at a probability of a half."""
    ap: float | None
    auroc: float | None
    f1_max: float | None
    image_auroc: float | None
    image_ap: float | None
    image_auroc_pooled: float | None
    image_ap_pooled: float | None
    detected: float | None
    false_regions: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the figures by name."""
        return asdict(self)


def measure(counts: Counts, normal: NDArray[np.bool_], pixels: NDArray[np.bool_]) -> Figures:
    """Return the figures of photographs.

    normal: [P], which of them are normals; pixels: [P], on which of them pixels are ranked. Image figures are
    of all.
    """
    shown = counts.of(pixels)
    histogram = shown.levels.sum(0)  # [2, 1024]
    both = bool(histogram.sum(1).all())
    ap = auroc = f1 = None
    if both:
        ap, auroc, f1 = rank(np.tile(np.arange(LEVELS), 2), np.repeat([0, 1], LEVELS), histogram.ravel())
    either, regions = int(shown.either.sum()), int(shown.regions.sum())
    image: list[float | None] = [None] * 4
    if normal.any() and not normal.all():
        for place, scores in enumerate((counts.peak, counts.pooled)):
            image[place + 2], image[place], _ = rank(scores, ~normal, np.ones(len(normal)))
    return Figures(
        iou=int(shown.overlap.sum()) / either if either else None,
        ap=ap,
        auroc=auroc,
        f1_max=f1,
        image_auroc=image[0],
        image_ap=image[2],
        image_auroc_pooled=image[1],
        image_ap_pooled=image[3],
        detected=int(shown.detected.sum()) / regions if regions else None,
        false_regions=float(counts.false_regions[normal].mean()) if normal.any() else None,
    )


def rank(
    scores: NDArray[np.generic], positive: NDArray[np.generic], weights: NDArray[np.generic]
) -> tuple[float, float, float]:
    """Return average precision, area under the ROC curve and the highest F1, by scikit-learn."""
    try:
        from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
    except ImportError as error:
        raise UserError(
            f"prove: needs scikit-learn, which is not installed here: {install('prove')}"
        ) from error
    kept = weights > 0  # type: ignore[operator]
    scores, positive, weights = scores[kept], positive[kept], weights[kept]
    precision, recall, _ = precision_recall_curve(positive, scores, sample_weight=weights)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return (
        float(average_precision_score(positive, scores, sample_weight=weights)),
        float(roc_auc_score(positive, scores, sample_weight=weights)),
        float(f1.max()),
    )
