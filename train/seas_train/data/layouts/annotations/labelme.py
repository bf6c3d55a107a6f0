"""LabelMe: a JSON file beside each photograph, with polygons, circles and brush masks by label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seas_train.data.layouts.annotations.shapes import Marked, picture_size, sort_marked
from seas_train.data.layouts.found import Found, entries, folders, is_normal_word
from seas_train.data.layouts.mask_files import keep_drawn
from seas_train.data.names import is_image_name, match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "photographs, each with LabelMe's JSON file of its name beside it"
INSIDE = (
    "images",
    "imgs",
    "photos",
    "photographs",
    "annotations",
    "labels",
    "json",
    "train",
    "val",
    "test",
    "ng",
)
_LIMIT = 256 * 2**20  # bytes of a file: it may hold the photograph


def looks_like(product: Path) -> bool:
    """Whether a LabelMe file lies in the folder or in those that such a folder is divided into."""
    return any(_is_labelme(file) for folder in _places(product) for file in _first(folder))


def _places(product: Path) -> list[Path]:
    """The folder itself, and its folders where one of them has a usual name: others are products."""
    inside = folders(product)
    usual = any(match_key(folder.name) in INSIDE or is_normal_word(folder.name) for folder in inside)
    return [product, *(inside if usual else [])]


def _first(folder: Path) -> Iterator[Path]:
    return (entry for entry in entries(folder) if entry.suffix.lower() == ".json")


def find(product: Path, problems: Problems) -> Found:
    """List the product's photographs by the labels of their files."""
    return sort_marked(*read(product, problems), problems)


def read(product: Path, problems: Problems) -> tuple[list[Marked], list[Path]]:
    """Return what is marked on each photograph that has a file, and the others in folders of normals."""
    marked: list[Marked] = []
    normals: list[Path] = []
    images = [path for folder in _places(product) for path in entries(folder) if is_image_name(path)]
    beside = {(path.parent, path.stem): path for path in images}
    files = {file for folder in _places(product) for file in _first(folder) if _is_labelme(file)}
    by_stem = {match_key(path.stem): path for path in images}
    told = set()
    for file in sorted(files):
        image = beside.get((file.parent, file.stem)) or by_stem.get(match_key(file.stem))
        if image is None:
            problems.warn(Kind.MISSING_FILE, file, "its photograph is not there; left out")
            continue
        told.add(image)
        if (entry := read_marks(file, image, problems)) is not None:
            marked.append(entry)
    for image in images:
        if image in told:
            continue
        if is_normal_word(image.parent.name):
            normals.append(image)
        else:
            message = "no JSON file of its name; left out (normal photographs lie in a folder `good`)"
            problems.warn(Kind.UNLABELLED, image, message)
    return marked, normals


def read_marks(file: Path, image: Path, problems: Problems) -> Marked | None:
    """Read a file's shapes; None, with a warning, where it cannot be read."""
    try:
        content = _load(file)
        width, height = content.get("imageWidth"), content.get("imageHeight")
        size = (int(width), int(height)) if width and height else picture_size(image)
        marked = Marked(image, file, size)
        for shape in content["shapes"]:
            _mark(marked, shape)
    except Exception as error:  # written by anything, read as far as it can be
        problems.warn(Kind.BROKEN_LABELS, file, f"cannot be read as LabelMe's ({error}); left out")
        return None
    return marked


def marks_beside(folder: Path, images: Sequence[Path], problems: Problems) -> list[tuple[str, Path]]:
    """Return masks drawn from LabelMe's files among the photographs of one defect, whatever their labels."""
    by_stem = {match_key(image.stem): image for image in images}
    found = []
    for file in _first(folder):
        image = by_stem.get(match_key(file.stem))
        if image is None or not _is_labelme(file):
            continue
        marked = read_marks(file, image, problems)
        if marked is not None and (mask := marked.mask) is not None:
            found.append((file.stem, keep_drawn(mask, file, problems)))
    return found


def _mark(marked: Marked, shape: dict[str, Any]) -> None:
    kind, points, label = shape.get("shape_type") or "polygon", shape["points"], str(shape["label"])
    flags = shape.get("flags")
    weak = isinstance(flags, dict) and flags.get("weak") is True
    if kind == "polygon":
        marked.polygon(label, points, weak=weak)
    elif kind == "rectangle":
        marked.box(label, points[0], points[1 if len(points) == 2 else 2])  # two corners, or all four
    elif kind == "circle":
        marked.circle(label, *points)
    elif kind == "mask":
        marked.bitmap(label, shape["mask"], points[0], weak=weak)
    else:  # line, point
        marked.lines += 1


def _is_labelme(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            head = stream.read(4096)
        return (b'"shapes"' in head or b'"imageData"' in head or b'"imagePath"' in head) and isinstance(
            _load(file).get("shapes"), list
        )
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _load(file: Path) -> Any:
    if file.stat().st_size > _LIMIT:
        raise ValueError("larger than 256 MiB")
    return json.loads(file.read_bytes())
