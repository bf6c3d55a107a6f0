"""Says what is wrong with a mask, and whether its pair can be used."""

from __future__ import annotations

from seas_train.data.facts import MaskFacts
from seas_train.data.facts.fits import MOST
from seas_train.data.images import Masks, Preprocessing
from seas_train.data.layouts import Pair
from seas_train.data.masks import MaskKind
from seas_train.data.masks.levels import FOREGROUND
from seas_train.data.problems import Kind, Problems

NEARLY_FULL = 0.9  # of the photograph: more than this is more likely an inverted mask than a defect
CUT = 0.1  # of a defect's pixels: from here on a cut is told


def mask_is_whole(
    pair: Pair,
    facts: MaskFacts,
    preprocessing: Preprocessing,
    regions: bool,
    latent_factor: int,
    problems: Problems,
) -> bool:
    """Report the first thing that costs the pair, else what is odd; False where it must be left out.

    regions: whether regions are trained on, which no fit cuts and no defect vanishes from.
    """
    if facts.broken is not None:
        kind = Kind.TOO_LARGE if facts.broken.too_large else Kind.UNREADABLE
        problems.warn(kind, facts.path, f"{facts.broken.reason}; the pair is left out")
        return False
    if not facts.matched:
        turned = " It looks turned by 90 degrees." if facts.size == facts.image_size[::-1] else ""
        problems.warn(
            Kind.SIZES_DIFFER,
            facts.path,
            f"expected {by(facts.image_size)} as {pair.image.name}, or that aspect, found "
            f"{by(facts.size)}; the pair is left out.{turned}",
        )
        return False
    lost = _what_is_lost(facts, preprocessing, regions)
    if lost is not None:
        problems.warn(lost[0], facts.path, f"{lost[1]}; the pair is left out{lost[2]}")
        return False
    _report_odd_mask(pair, facts, preprocessing, problems)
    if not regions:
        _report_fitted(facts, preprocessing, latent_factor, problems)
    return True


def _what_is_lost(
    facts: MaskFacts, preprocessing: Preprocessing, regions: bool
) -> tuple[Kind, str, str] | None:
    """Return why nothing, or too little, of a mask is left: kind, reason, advice."""
    reading = facts.reading
    assert reading is not None
    if reading.kind is MaskKind.NOT_A_MASK:
        return Kind.NOT_A_MASK, reading.doubt, " (--masks binary or labels reads it all the same)"
    if reading.kind is MaskKind.UNIFORM:
        return Kind.EMPTY_MASK, f"expected defect and background, found {reading.levels[0]} everywhere", ""
    if facts.foreground == 0:
        expected = f"above {FOREGROUND}" if preprocessing.masks is Masks.BINARY else "other than 0"
        expected = "darker than others" if reading.inverted else expected
        found = f"the brightest is {reading.levels[-1]}" if reading.levels[-1] else "all are 0"
        return Kind.EMPTY_MASK, f"expected pixels {expected}, {found}", ""
    if regions:
        return None
    keeps, fitted = " (--fit pad or stretch keeps it)", facts.fits[preprocessing.fit]
    if fitted.cropped == 0:
        return Kind.OUTSIDE_CROP, f"nothing of its {facts.foreground} px is inside", keeps
    if fitted.cropped < MOST * facts.foreground:
        share = 100 * fitted.cropped / facts.foreground
        return Kind.OUTSIDE_CROP, f"{share:.0f} % of its {facts.foreground} px is inside", keeps
    if fitted.fitted == 0:
        size = preprocessing.size
        return Kind.MASK_VANISHES, f"its {fitted.cropped} px fall between those of {size} x {size}", ""
    return None


def _report_odd_mask(pair: Pair, facts: MaskFacts, preprocessing: Preprocessing, problems: Problems) -> None:
    """Report what is odd about a mask that is used."""
    if facts.reading is not None and facts.reading.doubt:
        other = "binary" if facts.reading.kind in (MaskKind.LABELS, MaskKind.COLOURS) else "labels"
        problems.warn(
            Kind.MASK_DOUBT, facts.path, f"{facts.reading.doubt}; --masks {other} reads it otherwise"
        )
    if facts.size not in (facts.image_size, facts.image_size[::-1]):
        message = f"is {by(facts.size)}, {pair.image.name} {by(facts.image_size)}: scaled to that; kept"
        problems.warn(Kind.MASK_SCALED, facts.path, message)
    whole = facts.image_size[0] * facts.image_size[1]
    if facts.foreground > NEARLY_FULL * whole:
        share = 100 * facts.foreground / whole
        problems.warn(
            Kind.MASK_NEARLY_FULL,
            facts.path,
            f"covers {share:.0f} % of the image: is it inverted? Kept; --masks inverted reads it so",
        )
    if facts.rotation_unclear:
        message = f"EXIF turns {pair.image.name}; the mask is taken as drawn on the upright picture"
        problems.warn(Kind.ROTATION_UNCLEAR, facts.path, message)


def _report_fitted(
    facts: MaskFacts, preprocessing: Preprocessing, latent_factor: int, problems: Problems
) -> None:
    """Report what fitting to a whole picture costs a mask that is used."""
    size, fitted = preprocessing.size, facts.fits[preprocessing.fit]
    if fitted.cropped < (1 - CUT) * facts.foreground:
        share = 100 * fitted.cropped / facts.foreground
        message = f"{share:.0f} % of its {facts.foreground} px are inside; kept (--fit pad keeps all)"
        problems.warn(Kind.DEFECT_CUT, facts.path, message)
    if fitted.latent == 0:
        side = size // latent_factor
        message = (
            f"its {fitted.fitted} px at {size} x {size} lie between the points of the {side} x {side} "
            "latent; kept, as masks are max-pooled"
        )
        problems.warn(Kind.MASK_THIN, facts.path, message)


def by(size: tuple[int, int]) -> str:
    """Return `640 x 480`."""
    return f"{size[0]} x {size[1]}"
