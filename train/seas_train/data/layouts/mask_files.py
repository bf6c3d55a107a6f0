"""Tells masks from photographs by name and content, and joins or draws masks that are not one file."""

from __future__ import annotations

import filecmp
import functools
import itertools
import re
import tempfile
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from seas_runtime.dataset.formats.target import WEAK_NAME
from seas_runtime.errors import UserError
from seas_runtime.files import read_json
from seas_runtime.outputs.kinds import is_inside
from seas_train.data.names import match_key
from seas_train.data.problems import Kind, Problems

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
_WORDS = "mask|masks|gt|groundtruth|ground[ _-]truth|label|labels|seg|segmentation|segm|annotation|anno"
_AFTER = re.compile(rf"[ ._-]+({_WORDS})([ ._-]?\d+)?$")  # 000_mask, 000-seg1
_BEFORE = re.compile(rf"^({_WORDS})[ ._-]+")  # mask_000
_COLOURS = 16  # a mask has at most so many, a photograph more
_EXTREME, _SHARE = 16, 0.98  # of a compressed mask's pixels, so many are so near to black or white
_number = itertools.count()


def photograph_key(name: str, images: Collection[str]) -> str:
    """Return the key among `images` that a mask of this name belongs to, its own where there is none."""
    key = match_key(name)
    candidates = (key, _AFTER.sub("", key), _BEFORE.sub("", key))
    return next((candidate for candidate in candidates if candidate in images), key)


def is_stray_mask(image: Path, stems: Mapping[str, int]) -> bool:
    """Whether a file among photographs is a mask: by its name, or by a second file of it, and by its content.

    stems: how many files of the folder have a stem.
    """
    key = match_key(image.stem)
    named = _BEFORE.sub("", _AFTER.sub("", key)) != key
    if not named and stems[key] == 1:
        return False
    return looks_like_mask(image, one_level=named)


def looks_like_mask(path: Path, one_level: bool = False) -> bool:
    """Whether a file has a mask's content: few colours, or after compression nearly only black and white.

    one_level: a picture of one colour counts too, as the empty mask of a normal image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as opened:
                image = opened.convert("RGB")
    except Exception:  # what is damaged is told where it is decoded as a photograph
        return False
    colours = image.getcolors(_COLOURS)
    if colours is not None:
        return one_level or len(colours) > 1
    levels = image.convert("L").histogram()
    extreme = sum(levels[:_EXTREME]) + sum(levels[-_EXTREME:])
    return bool(extreme >= _SHARE * sum(levels))


def copied_masks(images: Iterable[Path], masks: Iterable[Path]) -> set[Path]:
    """Return the images that are, byte for byte, one of the masks."""
    samples: dict[object, list[Path]] = {}
    for mask in masks:
        samples.setdefault(_sample(mask), []).append(mask)
    return {
        image
        for image in images
        if (sample := _sample(image)) is not None
        and any(image != mask and filecmp.cmp(image, mask, shallow=False) for mask in samples.get(sample, ()))
    }


def _sample(path: Path) -> object:
    """A file's size and some bytes of its middle: most files differ in them; None if it cannot be read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            stream.seek(size // 2)
            return (size, stream.read(4096)) if size else None
    except OSError:
        return None


def weak_masks(product: Path, problems: Problems) -> set[Path]:
    """Return the masks, or files of labels, that a product's `weak.json` says to be boxes.

    None, with a warning, for a broken one. `data import` and `convert` write it:
    `{"weak": {"ground_truth/dent/003_mask.png": "box"}}`.
    """
    file = product / WEAK_NAME
    try:
        listed = read_json(file, "list of weak masks")["weak"] if file.is_file() else {}
        return {product / path for path in dict(listed) if is_inside(path)}
    except (UserError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        problems.warn(Kind.BROKEN_LABELS, file, f"cannot be read ({error}); all masks are taken as outlines")
        return set()


def merge_masks(parts: Sequence[Path], folder: Path, problems: Problems) -> Path | None:
    """Return a file of all that the masks of one picture mark; None, with a warning, if they do not fit."""
    whole: np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None = None
    for part in parts:
        try:
            with Image.open(part, formats=_FORMATS) as opened:
                values = np.asarray(opened.convert("RGB")).max(axis=-1)
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
            problems.warn(
                Kind.UNREADABLE, part, f"cannot be read ({error}); the picture's masks are left out"
            )
            return None
        marked = values > (127 if values.max() > 127 else 0)
        if whole is not None and whole.shape != marked.shape:
            problems.warn(Kind.SIZES_DIFFER, part, "not the size of the picture's other masks; left out")
            return None
        whole = marked if whole is None else whole | marked
    assert whole is not None
    return keep_drawn(Image.fromarray(np.where(whole, 255, 0).astype(np.uint8)), folder, problems)


def keep_drawn(mask: Image.Image, source: Path, problems: Problems) -> Path:
    """Write a mask that no file holds, for as long as this process runs; reports name its `source`."""
    path = Path(_folder().name) / f"{next(_number)}-{source.stem[:60]}.png"
    path = path.with_name(path.name.encode(errors="replace").decode())
    mask.save(path)
    problems.stand_in(path, source)
    return path


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The folder of drawn masks; it goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="seas-masks-")
