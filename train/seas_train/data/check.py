"""Says what is wrong with a product's files, and which of them can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seas_train.data.facts import ImageFacts, MaskFacts, choose_levels, decode_all
from seas_train.data.facts.decode import DECODED
from seas_train.data.facts.levels import is_blank
from seas_train.data.images import Fit, Masks, Preprocessing, Window, crop_box
from seas_train.data.layouts import LABEL_MAPS, Found, Layout, Pair
from seas_train.data.masks import MaskKind
from seas_train.data.masks.levels import FOREGROUND
from seas_train.data.problems import Kind, Problems
from seas_train.data.sizes import DefectSize, defect_size

NEARLY_FULL = 0.9  # of the photograph: more than this is more likely an inverted mask than a defect
MOST = 0.5  # of a defect's pixels: with less of them inside the crop, the pair is left out
CUT = 0.1  # of a defect's pixels: from here on a cut is told
OBLONG = 1 / 3  # of a normal picture: from here on a crop's loss is a warning


@dataclass
class Checked:
    """The usable files of a product, and the facts that the check found."""

    train_normals: list[Path]
    test_normals: list[Path]
    pairs: dict[str, list[Pair]]
    preprocessing: Preprocessing
    label_map: bool
    """Whether the product's masks as a whole hold labels, of which all but 0 are defect."""
    hashes: dict[Path, str]
    readings: dict[Path, str]
    """How the masks are read for which `label_map` does not say it, for the fingerprint."""
    notes: list[str]
    sizes: list[DefectSize]
    pictures: dict[str, Any]
    """Depths, window and masks, for the report's JSON."""


def check_files(
    found: Found,
    layout: Layout,
    preprocessing: Preprocessing,
    window: Window | tuple[float, float],
    latent_factor: int,
    problems: Problems,
    normals_wanted: int = 0,
) -> Checked:
    """Decode every image and mask, report what is wrong, and return what can be used."""
    pairs = [pair for defect in found.defects for pair in defect.pairs]
    images, masks = decode_all(
        [*found.train_normals, *found.test_normals],
        pairs,
        preprocessing,
        latent_factor,
        max(DECODED, normals_wanted),
    )
    levels = choose_levels(images.values(), preprocessing, window)
    preprocessing = levels.preprocessing
    notes = [*found.notes, *levels.notes]
    for warning in levels.warnings:
        problems.warn(Kind.DEPTHS_DIFFER, None, warning)
    if levels.flat:
        problems.warn(Kind.FLAT, None, levels.flat)
    kinds = _report_kinds(masks.values(), notes)
    label_map = layout in LABEL_MAPS or _are_label_maps(masks.values())

    normals = [
        p
        for p in [*found.train_normals, *found.test_normals]
        if _image_is_whole(images[p], preprocessing, problems)
    ]
    whole = set(normals)
    usable: dict[str, list[Pair]] = {}
    for defect in found.defects:
        usable[defect.label] = [
            pair
            for pair in defect.pairs
            if _image_is_whole(images[pair.image], preprocessing, problems)
            and _mask_is_whole(pair, masks[pair.mask], preprocessing, latent_factor, problems)
        ]
    _report_crop([images[path] for path in normals], preprocessing, notes, problems)
    sizes = [
        defect_size(label, {pair.mask: masks[pair.mask].area for pair in kept}, latent_factor)
        for label, kept in usable.items()
        if kept
    ]
    _report_sizes(sizes, preprocessing.size, latent_factor, problems)
    return Checked(
        train_normals=[path for path in found.train_normals if path in whole],
        test_normals=[path for path in found.test_normals if path in whole],
        pairs=usable,
        preprocessing=preprocessing,
        label_map=label_map,
        hashes={path: facts.sha256 for path, facts in images.items()}
        | {path: facts.sha256 for path, facts in masks.items()},
        readings=_unusual(masks, label_map),
        notes=notes,
        sizes=sizes,
        pictures={**levels.facts, "masks": kinds},
    )


def _report_kinds(masks: Iterable[MaskFacts], notes: list[str]) -> dict[str, int]:
    """Note how many masks are read in which way, with the levels of each; return the counts."""
    ways: dict[str, Counter[str]] = {}
    for facts in masks:
        if facts.reading is not None:
            ways.setdefault(facts.reading.kind.value, Counter())[facts.reading.levels_text()] += 1
    for kind, levels in ways.items():
        shown = "; ".join(f"{text} ({count})" for text, count in levels.most_common(3))
        more = f"; {len(levels) - 3} other sets" if len(levels) > 3 else ""
        notes.append(f"masks read as {kind}: {sum(levels.values())}, with levels {shown}{more}")
    return {kind: sum(levels.values()) for kind, levels in ways.items()}


def _are_label_maps(masks: Iterable[MaskFacts]) -> bool:
    """Masks in MVTec layout hold labels where none of them reaches 128 but some are not empty."""
    brightest = [facts.reading.levels[-1] for facts in masks if facts.reading is not None]
    return any(brightest) and all(level <= FOREGROUND for level in brightest)


def _unusual(masks: dict[Path, MaskFacts], label_map: bool) -> dict[Path, str]:
    """The readings that one threshold for all masks would not give."""
    plain, unusual = 0 if label_map else FOREGROUND, {}
    for path, facts in masks.items():
        if (reading := facts.reading) is not None:
            low, high = sorted((plain, reading.threshold))
            if (
                reading.inverted
                or reading.source == "distance"
                or any(low < level <= high for level in reading.levels)
            ):
                unusual[path] = f"{reading.source} above {reading.threshold}"
    return unusual


def _image_is_whole(facts: ImageFacts, preprocessing: Preprocessing, problems: Problems) -> bool:
    if facts.broken is not None:
        kind = Kind.TOO_LARGE if facts.broken.too_large else Kind.UNREADABLE
        problems.warn(kind, facts.path, f"{facts.broken.reason}; left out")
        return False
    if is_blank(facts, preprocessing):
        problems.warn(Kind.BLANK, facts.path, "every pixel has the same value; kept all the same")
    if facts.pages > 1:
        problems.warn(Kind.SEVERAL_PAGES, facts.path, f"has {facts.pages} pages; the first is used")
    return True


def _mask_is_whole(
    pair: Pair, facts: MaskFacts, preprocessing: Preprocessing, latent_factor: int, problems: Problems
) -> bool:
    """Report the first thing that costs the pair, else what is odd; False where it must be left out."""
    if facts.broken is not None:
        kind = Kind.TOO_LARGE if facts.broken.too_large else Kind.UNREADABLE
        problems.warn(kind, facts.path, f"{facts.broken.reason}; the pair is left out")
        return False
    if not facts.matched:
        turned = " It looks turned by 90 degrees." if facts.size == facts.image_size[::-1] else ""
        problems.warn(
            Kind.SIZES_DIFFER,
            facts.path,
            f"expected {_by(facts.image_size)} as {pair.image.name}, or that aspect, found "
            f"{_by(facts.size)}; the pair is left out.{turned}",
        )
        return False
    lost = _what_is_lost(facts, preprocessing)
    if lost is not None:
        problems.warn(lost[0], facts.path, f"{lost[1]}; the pair is left out{lost[2]}")
        return False
    _report_odd_mask(pair, facts, preprocessing, latent_factor, problems)
    return True


def _what_is_lost(facts: MaskFacts, preprocessing: Preprocessing) -> tuple[Kind, str, str] | None:
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
    keeps = " (--fit pad or stretch keeps it)"
    if facts.cropped == 0:
        return Kind.OUTSIDE_CROP, f"nothing of its {facts.foreground} px is inside", keeps
    if facts.cropped < MOST * facts.foreground:
        share = 100 * facts.cropped / facts.foreground
        return Kind.OUTSIDE_CROP, f"{share:.0f} % of its {facts.foreground} px is inside", keeps
    if facts.fitted == 0:
        size = preprocessing.size
        return Kind.MASK_VANISHES, f"its {facts.cropped} px fall between those of {size} x {size}", ""
    return None


def _report_odd_mask(
    pair: Pair, facts: MaskFacts, preprocessing: Preprocessing, latent_factor: int, problems: Problems
) -> None:
    """Report what is odd about a mask that is used."""
    size = preprocessing.size
    if facts.reading is not None and facts.reading.doubt:
        other = "binary" if facts.reading.kind in (MaskKind.LABELS, MaskKind.COLOURS) else "labels"
        problems.warn(
            Kind.MASK_DOUBT, facts.path, f"{facts.reading.doubt}; --masks {other} reads it otherwise"
        )
    if facts.size not in (facts.image_size, facts.image_size[::-1]):
        message = f"is {_by(facts.size)}, {pair.image.name} {_by(facts.image_size)}: scaled to that; kept"
        problems.warn(Kind.MASK_SCALED, facts.path, message)
    if facts.cropped < (1 - CUT) * facts.foreground:
        share = 100 * facts.cropped / facts.foreground
        message = f"{share:.0f} % of its {facts.foreground} px are inside; kept (--fit pad keeps all)"
        problems.warn(Kind.DEFECT_CUT, facts.path, message)
    if facts.latent == 0:
        side = size // latent_factor
        message = (
            f"its {facts.fitted} px at {size} x {size} lie between the points of the {side} x {side} "
            "latent; kept, as masks are max-pooled"
        )
        problems.warn(Kind.MASK_THIN, facts.path, message)
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


def _report_crop(
    normals: Sequence[ImageFacts], preprocessing: Preprocessing, notes: list[str], problems: Problems
) -> None:
    """Tell how much of the normal pictures the centre crop leaves out."""
    if preprocessing.fit is not Fit.CROP or not normals:
        return
    losses = []
    for facts in normals:
        left, top, right, bottom = crop_box(facts.size, Fit.CROP)
        losses.append(1 - (right - left) * (bottom - top) / (facts.size[0] * facts.size[1]))
    median = float(np.median(losses))
    oblong = sum(loss >= OBLONG for loss in losses)
    common = Counter(facts.size for facts in normals).most_common(1)[0][0]
    if median >= OBLONG:
        message = (
            f"{100 * median:.0f} % of the normal pictures (mostly {_by(common)}) are outside of the centre "
            f"crop, at {oblong} of {len(losses)} a third or more: what lies there is never learned nor made. "
            "--fit pad or stretch keeps it"
        )
        problems.warn(Kind.CROPPED, None, message)
    elif median >= 0.01:
        notes.append(f"the centre crop leaves out {100 * median:.0f} % of the normal pictures")


def _report_sizes(sizes: Collection[DefectSize], size: int, latent_factor: int, problems: Problems) -> None:
    """Warn of defects that become smaller than a cell of the latent."""
    for found in sizes:
        if not found.below_cell:
            continue
        needed = found.needed_side(size, latent_factor)
        larger = f", or take a base of larger images: {needed} x {needed} makes the median a cell"
        message = (
            f"{found.label}: at {size} x {size}, {found.to_text()}; {found.below_cell} of {found.pairs} are "
            f"smaller than a cell of {latent_factor} x {latent_factor} px, of which little can be learned. "
            f"Cut the photographs into parts around the defect{larger if needed > size else ''}"
        )
        problems.warn(Kind.SMALL_DEFECT, None, message)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
