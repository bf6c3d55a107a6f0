"""The files of a product as a layout's reader finds them: folders listed, masks matched to images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from seas_train.data.names import is_image_name, match_key, natural_key
from seas_train.data.problems import Kind, Problems

JUNK = frozenset({"thumbs.db", "desktop.ini"})
"""Left behind by file browsers, as is every name with a leading dot."""


@dataclass(frozen=True)
class Pair:
    """A photograph of a defect and the mask that marks it."""

    image: Path
    mask: Path


@dataclass
class FoundDefect:
    """A defect as its folder or label spells it: its pairs in natural order, and the images without one."""

    label: str
    pairs: list[Pair] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


@dataclass
class Found:
    """The files of a product, in natural order, before any of them is opened.

    `one_pool` is True where the layout does not tell training from test normals: all are in `train_normals`.
    """

    train_normals: list[Path] = field(default_factory=list)
    test_normals: list[Path] = field(default_factory=list)
    one_pool: bool = False
    defects: list[FoundDefect] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def child(folder: Path, *names: str) -> Path | None:
    """Return the folder below that the names lead to, whatever their case, or None."""
    for name in names:
        if (folder / name).is_dir():
            folder = folder / name
            continue
        match = next((f for f in folders(folder) if match_key(f.name) == match_key(name)), None)
        if match is None:
            return None
        folder = match
    return folder


def folders(folder: Path) -> list[Path]:
    """Return the folders inside, in natural order, without hidden ones; an unreadable folder has none."""
    try:
        inside = [f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
    except OSError:
        return []
    return sorted(inside, key=natural_key)


def list_images(folder: Path, problems: Problems) -> list[Path]:
    """Return the folder's images in natural order; everything else in it is reported."""
    try:
        entries = sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        problems.warn(Kind.IGNORED, folder, f"the folder cannot be read: {error.strerror or error}")
        return []
    images = []
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in JUNK:
            continue
        if entry.is_dir():
            problems.warn(Kind.IGNORED, entry, "a folder where images are expected; its files are not read")
        elif is_image_name(entry):
            images.append(entry)
        else:
            problems.warn(Kind.IGNORED, entry, "not an image (.png .jpg .jpeg .bmp .tif .tiff)")
    return images


def pair_up(label: str, images: list[Path], masks: list[Path], problems: Problems) -> FoundDefect:
    """Match NNN_mask.* or NNN.* to each NNN.*; what has not exactly one partner is left out and reported."""
    defect = FoundDefect(label)
    by_image: dict[str, list[Path]] = {}
    for image in images:
        by_image.setdefault(match_key(image.stem), []).append(image)
    by_mask: dict[str, list[Path]] = {}
    for mask in masks:
        key = match_key(mask.stem)
        key = key if key in by_image else key.removesuffix("_mask")
        if key in by_image:
            by_mask.setdefault(key, []).append(mask)
        else:
            problems.warn(Kind.EXTRA_MASK, mask, f"no image of {label} has this name; left out")
    for key, same in by_image.items():
        partners = by_mask.get(key, [])
        if len(same) > 1:
            problems.warn(
                Kind.NAME_COLLISION,
                same[0],
                f"{_names(same)} share one name and its mask; left out: rename one",
            )
            defect.left_out += same
        elif not partners:
            expected = f"{same[0].stem}_mask.png or {same[0].stem}.png"
            problems.warn(Kind.MISSING_MASK, same[0], f"expected a mask {expected}, found none; left out")
            defect.left_out += same
        elif len(partners) > 1:
            problems.warn(
                Kind.SEVERAL_MASKS,
                same[0],
                f"expected one mask, found {_names(partners)}; left out: keep one",
            )
            defect.left_out += same
        else:
            defect.pairs.append(Pair(same[0], partners[0]))
    defect.pairs.sort(key=lambda pair: natural_key(pair.image))
    return defect


def _names(paths: Iterable[Path]) -> str:
    return " and ".join(path.name for path in paths)
