"""Says what is wrong with a product's files, and which of them can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seas_train.data.checking.masks import by, mask_is_whole
from seas_train.data.checking.regions import decide_regions, region_sizes
from seas_train.data.facts import ImageFacts, MaskFacts, choose_levels, decode_all
from seas_train.data.facts.decode import DECODED
from seas_train.data.facts.fits import choose_fit, fits_to_try
from seas_train.data.facts.levels import is_blank
from seas_train.data.facts.sizes import DefectSize, defect_size
from seas_train.data.images import Fit, Preprocessing, crop_box
from seas_train.data.layouts import LABEL_MAPS, Found, Layout, Pair
from seas_train.data.masks.levels import FOREGROUND
from seas_train.data.problems import Kind, Problems
from seas_train.data.regions import Part
from seas_train.data.report import RegionsFound
from seas_train.data.split import PhotographsConfig

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
    regions: RegionsFound
    parts: dict[Path, tuple[Part, ...]]
    """Of each mask, in pixels of its photograph."""
    image_sizes: dict[Path, tuple[int, int]]
    """Width and height of each upright photograph."""


def check_files(
    found: Found,
    layout: Layout,
    preprocessing: Preprocessing,
    config: PhotographsConfig,
    latent_factor: int,
    problems: Problems,
) -> Checked:
    """Decode every image and mask, report what is wrong, and return what can be used.

    preprocessing: without what follows from the files: its fit where that is `auto`, window and bit depth.
    """
    pairs = [pair for defect in found.defects for pair in defect.pairs]
    images, masks = decode_all(
        [*found.train_normals, *found.test_normals],
        pairs,
        preprocessing,
        fits_to_try(config.fit),
        latent_factor,
        max(DECODED, config.normals),
    )
    levels = choose_levels(images.values(), preprocessing, config.window)
    fit, fit_note = choose_fit(masks.values(), config.fit)
    preprocessing = replace(levels.preprocessing, fit=fit)
    notes = [*found.notes, *levels.notes, *filter(None, [fit_note])]
    for warning in levels.warnings:
        problems.warn(Kind.DEPTHS_DIFFER, None, warning)
    if levels.flat:
        problems.warn(Kind.FLAT, None, levels.flat)
    kinds = _report_kinds(masks.values(), notes)
    label_map = layout in LABEL_MAPS or _are_label_maps(masks.values())
    measured = {
        defect.label: [
            masks[pair.mask]
            for pair in defect.pairs
            if images[pair.image].broken is None and masks[pair.mask].parts
        ]
        for defect in found.defects
    }
    regions = decide_regions(measured, images.values(), preprocessing, config, latent_factor)

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
            and mask_is_whole(pair, masks[pair.mask], preprocessing, regions.on, latent_factor, problems)
        ]
    if not regions.on:
        _report_crop([images[path] for path in normals], preprocessing, notes, problems)
    kept = {label: [masks[pair.mask] for pair in found] for label, found in usable.items() if found}
    sizes = [
        defect_size(label, {f.path: f.fits[fit].area for f in facts}, latent_factor)
        for label, facts in kept.items()
    ]
    if regions.on:
        regions = replace(regions, sizes=tuple(region_sizes(kept, preprocessing.size, latent_factor)))
    _report_sizes(
        regions.sizes if regions.on else sizes, regions.on, preprocessing.size, latent_factor, problems
    )
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
        regions=regions,
        parts={path: facts.parts for path, facts in masks.items()},
        image_sizes={path: facts.size for path, facts in images.items()},
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
            f"{100 * median:.0f} % of the normal pictures (mostly {by(common)}) are outside of the centre "
            f"crop, at {oblong} of {len(losses)} a third or more: what lies there is never learned nor made. "
            "--fit pad or stretch keeps it"
        )
        problems.warn(Kind.CROPPED, None, message)
    elif median >= 0.01:
        notes.append(f"the centre crop leaves out {100 * median:.0f} % of the normal pictures")


def _report_sizes(
    sizes: Collection[DefectSize], regions: bool, size: int, latent_factor: int, problems: Problems
) -> None:
    """Warn of defects that become smaller than a cell of the latent."""
    advice = "Take photographs of more pixels" if regions else "Train on regions of them (--regions on)"
    for found in sizes:
        if not found.below_cell:
            continue
        needed = found.needed_side(size, latent_factor)
        larger = f", or take a base of larger images: {needed} x {needed} makes the median a cell"
        message = (
            f"{found.label}: at {size} x {size}, {found.to_text()}; {found.below_cell} of {found.pairs} are "
            f"smaller than a cell of {latent_factor} x {latent_factor} px, of which little can be learned. "
            f"{advice}{larger if needed > size else ''}"
        )
        problems.warn(Kind.SMALL_DEFECT, None, message)
