"""Says what is wrong with a product's files, and which of them can be used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from seas_train.data.facts import ImageFacts, MaskFacts, decode_all
from seas_train.data.images import BIT_DEPTHS, FOREGROUND, Preprocessing
from seas_train.data.layouts import Found, Layout, Pair
from seas_train.data.problems import Kind, Problems

NEARLY_FULL = 0.9  # of the photograph: more than this is more likely an inverted mask than a defect


@dataclass
class Checked:
    """The usable files of a product, and the facts that the check found."""

    train_normals: list[Path]
    test_normals: list[Path]
    pairs: dict[str, list[Pair]]
    preprocessing: Preprocessing
    label_map: bool
    hashes: dict[Path, str]
    notes: list[str]


def check_files(
    found: Found, layout: Layout, preprocessing: Preprocessing, latent_factor: int, problems: Problems
) -> Checked:
    """Decode every image and mask, report what is wrong, and return what can be used."""
    pairs = [pair for defect in found.defects for pair in defect.pairs]
    images, masks = decode_all(
        [*found.train_normals, *found.test_normals], pairs, preprocessing, latent_factor
    )
    notes = list(found.notes)
    label_map = layout is not Layout.MVTEC or _are_label_maps(masks.values())
    if label_map and layout is Layout.MVTEC:
        notes.append("no mask has a value above 127: they are read as label maps, all but 0 is defect")
    preprocessing = _with_bit_depth(preprocessing, images, notes)

    normals = [p for p in [*found.train_normals, *found.test_normals] if _image_is_whole(images[p], problems)]
    whole = set(normals)
    usable: dict[str, list[Pair]] = {}
    for defect in found.defects:
        usable[defect.label] = [
            pair
            for pair in defect.pairs
            if _image_is_whole(images[pair.image], problems)
            and _mask_is_whole(pair, masks[pair.mask], label_map, preprocessing, latent_factor, problems)
        ]
    return Checked(
        train_normals=[path for path in found.train_normals if path in whole],
        test_normals=[path for path in found.test_normals if path in whole],
        pairs=usable,
        preprocessing=preprocessing,
        label_map=label_map,
        hashes={path: facts.sha256 for path, facts in images.items()}
        | {path: facts.sha256 for path, facts in masks.items()},
        notes=notes,
    )


def _are_label_maps(masks: Iterable[MaskFacts]) -> bool:
    """Masks in MVTec layout hold labels where none of them reaches 128 but some are not empty."""
    facts = [m for m in masks if m.broken is None]
    return any(m.brightest > 0 for m in facts) and all(m.brightest <= FOREGROUND for m in facts)


def _with_bit_depth(
    preprocessing: Preprocessing, images: dict[Path, ImageFacts], notes: list[str]
) -> Preprocessing:
    """Scale 16-bit files from the smallest usual bit depth that holds the whole product's values."""
    peak = max((facts.peak for facts in images.values()), default=0)
    if peak == 0:
        return preprocessing
    depth = next(bits for bits in BIT_DEPTHS if peak < 2**bits)
    if depth < 16:
        notes.append(f"16-bit images hold values up to {peak}: they are scaled from {depth} bits")
    return replace(preprocessing, bit_depth=depth)


def _image_is_whole(facts: ImageFacts, problems: Problems) -> bool:
    if facts.broken is not None:
        kind = Kind.TOO_LARGE if facts.broken.too_large else Kind.UNREADABLE
        problems.warn(kind, facts.path, f"{facts.broken.reason}; left out")
        return False
    if facts.blank:
        problems.warn(Kind.BLANK, facts.path, "every pixel has the same value; kept all the same")
    if facts.pages > 1:
        problems.warn(Kind.SEVERAL_PAGES, facts.path, f"has {facts.pages} pages; the first is used")
    return True


def _mask_is_whole(
    pair: Pair,
    facts: MaskFacts,
    label_map: bool,
    preprocessing: Preprocessing,
    latent_factor: int,
    problems: Problems,
) -> bool:
    """Report the first thing wrong with a mask; False where the pair must be left out."""
    way = 1 if label_map else 0
    if facts.broken is not None:
        kind = Kind.TOO_LARGE if facts.broken.too_large else Kind.UNREADABLE
        problems.warn(kind, facts.path, f"{facts.broken.reason}; the pair is left out")
        return False
    if facts.size != facts.image_size:
        turned = " It looks turned by 90 degrees." if facts.size == facts.image_size[::-1] else ""
        problems.warn(
            Kind.SIZES_DIFFER,
            facts.path,
            f"expected {_by(facts.image_size)} as {pair.image.name}, found {_by(facts.size)}; "
            f"the pair is left out.{turned}",
        )
        return False
    pixels = facts.foreground[way]
    if pixels == 0:
        found = f"the brightest is {facts.brightest}" if facts.brightest else "all are 0"
        expected = "other than 0" if label_map else f"above {FOREGROUND}"
        problems.warn(
            Kind.EMPTY_MASK, facts.path, f"expected pixels {expected}, {found}; the pair is left out"
        )
        return False
    if facts.cropped[way] == 0:
        message = (
            f"nothing of its {pixels} px is inside; the pair is left out (--fit pad or stretch keeps it)"
        )
        problems.warn(Kind.OUTSIDE_CROP, facts.path, message)
        return False
    size = preprocessing.size
    if facts.fitted[way] == 0:
        message = f"its {facts.cropped[way]} px fall between those of {size} x {size}; the pair is left out"
        problems.warn(Kind.MASK_VANISHES, facts.path, message)
        return False
    if facts.latent[way] == 0:
        side = size // latent_factor
        message = (
            f"its {facts.fitted[way]} px at {size} x {size} lie between the points of the {side} x {side} "
            "latent; kept, as masks are max-pooled"
        )
        problems.warn(Kind.MASK_THIN, facts.path, message)
    if pixels > NEARLY_FULL * facts.size[0] * facts.size[1]:
        share = 100 * pixels / (facts.size[0] * facts.size[1])
        problems.warn(
            Kind.MASK_NEARLY_FULL, facts.path, f"covers {share:.0f} % of the image: is it inverted? Kept"
        )
    if facts.rotation_unclear:
        message = f"EXIF turns {pair.image.name}; the mask is taken as drawn on the upright picture"
        problems.warn(Kind.ROTATION_UNCLEAR, facts.path, message)
    return True


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
