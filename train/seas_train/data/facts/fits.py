"""Which fit suits a product, where none is asked for."""

from __future__ import annotations

from collections.abc import Collection

from seas_train.data.facts.decode import MaskFacts
from seas_train.data.images import AutoFit, Fit

MOST = 0.5
"""Of a defect's pixels: with less of them inside the crop, a pair is left out."""
COMPARED = (Fit.CROP, Fit.PAD)


def fits_to_try(wanted: Fit | AutoFit) -> tuple[Fit, ...]:
    """The fits that masks are measured at."""
    return (wanted,) if isinstance(wanted, Fit) else COMPARED


def choose_fit(masks: Collection[MaskFacts], wanted: Fit | AutoFit) -> tuple[Fit, str]:
    """Return the fit, and a note where it was chosen and is not crop: pad where crop would lose pairs."""
    if isinstance(wanted, Fit):
        return wanted, ""
    marked = [facts for facts in masks if facts.matched and facts.foreground]
    lost = sum(facts.fits[Fit.CROP].cropped < MOST * facts.foreground for facts in marked)
    if not lost:
        return Fit.CROP, ""
    return Fit.PAD, (
        f"fit: pad, as the centre crop would leave out {lost} of {len(marked)} pairs, whose defects lie "
        "outside of it (--fit crop or stretch otherwise)"
    )
