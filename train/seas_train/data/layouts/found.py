"""The files of a product as a layout's reader finds them: folders listed, masks matched to images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seas_runtime.clutter import is_clutter
from seas_runtime.manifest.types import GOOD
from seas_train.data.layouts.mask_files import is_stray_mask, merge_masks, photograph_key
from seas_train.data.names import HEIC_SUFFIXES, is_image_name, match_key, natural_key
from seas_train.data.problems import Kind, Problems

NORMAL_WORDS = (GOOD, "ok", "normal", "normals", "pass", "passed", "io", "i.o.", "i.o", "fine", "nominal")
"""How factories call the folder of normal images; the first that is there is taken."""


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
    weak: set[Path] = field(default_factory=set)
    """Masks that are boxes around defects rather than their outlines."""
    notes: list[str] = field(default_factory=list)


Masks = Sequence[tuple[str, Path]]
"""Mask files, each with the name that its photograph is looked for by."""


def is_folder(path: Path) -> bool:
    """Whether a folder is there that may be looked at; unlike `Path.is_dir`, no error where it may not."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a file is there that may be looked at."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def child(folder: Path, *names: str) -> Path | None:
    """Return the folder below that the names lead to, whatever their case, or None."""
    for name in names:
        if is_folder(folder / name):
            folder = folder / name
            continue
        match = next((f for f in folders(folder) if match_key(f.name) == match_key(name)), None)
        if match is None:
            return None
        folder = match
    return folder


def normal_child(folder: Path) -> Path | None:
    """Return the folder of normal images inside, by any of its usual names or `0` beside `1`, or None."""
    named = (found for word in NORMAL_WORDS if (found := child(folder, word)) is not None)
    return next(named, child(folder, "0") if child(folder, "1") is not None else None)


def is_normal_word(name: str) -> bool:
    """Whether a folder or label of this name stands for normal images."""
    return match_key(name) in NORMAL_WORDS


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, in natural order, but for hidden names and what systems leave there.

    An unreadable folder has nothing.
    """
    try:
        inside = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
    except OSError:
        return []
    return sorted(inside, key=natural_key)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the product's."""
    return name.startswith(".") or is_clutter(name)


def folders(folder: Path) -> list[Path]:
    """Return the folders inside, in natural order, without hidden ones; an unreadable folder has none."""
    return [entry for entry in entries(folder) if is_folder(entry)]


def unreadable(folder: Path) -> str | None:
    """Return why a folder cannot be read, or None where it can be."""
    try:
        with os.scandir(folder) as inside:
            first = next(inside, None)
            if first is not None:
                first.stat(
                    follow_symlinks=False
                )  # a folder that may be listed and not entered has names only
    except OSError as error:
        return error.strerror or str(error)
    return None


def skip_unreadable(folder: Path, problems: Problems, depth: int = 4) -> None:
    """Warn of every folder below that cannot be read; nothing else tells that its files are not used."""
    for inside in folders(folder):
        if (reason := unreadable(inside)) is not None:
            problems.warn(
                Kind.IGNORED, inside, f"the folder cannot be read, its files are not used: {reason}"
            )
        elif depth > 1:
            skip_unreadable(inside, problems, depth - 1)


def list_images(folder: Path, problems: Problems) -> list[Path]:
    """Return the folder's photographs in natural order; everything else in it is reported, masks too."""
    return list_photographs(folder, problems)[0]


def list_photographs(folder: Path, problems: Problems) -> tuple[list[Path], list[Path]]:
    """Return the folder's photographs, and the masks that lie among them; all else in it is reported."""
    images, _ = _sort_entries(folder, problems)
    stems: dict[str, int] = {}
    for image in images:
        stems[match_key(image.stem)] = stems.get(match_key(image.stem), 0) + 1
    masks = {image for image in images if is_stray_mask(image, stems)}
    return [image for image in images if image not in masks], sorted(masks, key=natural_key)


def list_masks(folder: Path, problems: Problems) -> list[tuple[str, Path]]:
    """Return a folder's masks with their names; a folder inside holds the masks of the image of its name."""
    files, inside = _sort_entries(folder, problems, masks=True)
    found = [(file.stem, file) for file in files]
    for nested in inside:
        parts = [path for path in entries(nested) if is_image_name(path)]
        if not parts:
            problems.warn(Kind.IGNORED, nested, "a folder without masks in it")
        elif (merged := parts[0] if len(parts) == 1 else merge_masks(parts, nested, problems)) is not None:
            found.append((nested.name, merged))
    return found


def _sort_entries(folder: Path, problems: Problems, masks: bool = False) -> tuple[list[Path], list[Path]]:
    """Return a folder's image files and, where masks are expected, the folders in it; report all else."""
    files, inside = [], []
    here = entries(folder)
    stems = {entry.stem for entry in here if is_image_name(entry)}
    for entry in here:
        if is_folder(entry):
            inside.append(entry)
            if not masks:
                problems.warn(
                    Kind.IGNORED, entry, "a folder where images are expected; its files are not read"
                )
        elif is_image_name(entry):
            files.append(entry)
        elif entry.suffix.lower() in HEIC_SUFFIXES:
            advice = "is read with pillow-heif: install the extra `heic`, or save the file as PNG or JPEG"
            problems.warn(Kind.IGNORED, entry, f"{entry.suffix[1:].upper()} {advice}")
        elif entry.suffix.lower() == ".json" and entry.stem in stems:
            continue  # LabelMe's, of the photograph beside it
        else:
            problems.warn(Kind.IGNORED, entry, "not an image (.png .jpg .jpeg .bmp .tif .tiff .webp)")
    return files, inside


def pair_up(
    label: str, images: Sequence[Path], masks: Masks, problems: Problems, beside: Masks = ()
) -> FoundDefect:
    """Match NNN_mask.* or NNN.* to each NNN.*; what has not exactly one partner is left out and reported.

    `beside` are masks that lie among the photographs: used where there is no other, and told.
    """
    defect = FoundDefect(label)
    by_image: dict[str, list[Path]] = {}
    for image in images:
        by_image.setdefault(match_key(image.stem), []).append(image)
    by_mask: dict[str, list[Path]] = {}
    for name, mask in masks:
        key = photograph_key(name, by_image)
        if key in by_image:
            by_mask.setdefault(key, []).append(mask)
        else:
            problems.warn(Kind.EXTRA_MASK, mask, f"no image of {label} has this name; left out")
    for name, mask in beside:
        key = photograph_key(name, by_image)
        if key in by_image and key not in by_mask:
            by_mask[key] = [mask]
            problems.warn(Kind.STRAY_MASK, mask, "lies among the photographs; used as a mask")
        else:
            problems.warn(Kind.STRAY_MASK, mask, "lies among the photographs; not used as one")
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
