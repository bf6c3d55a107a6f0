"""COCO: one JSON file with images, categories and the outline of every instance, as polygons or runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from seas_train.data.layouts.annotations.shapes import Marked, sort_marked
from seas_train.data.layouts.found import Found, entries, folders, is_folder
from seas_train.data.names import is_image_name, match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "annotations/*.json or _annotations.coco.json with images, annotations and categories"
_FOLDERS = (
    "annotations",
    "labels",
    "train",
    "val",
    "valid",
    "test",
    "train2017",
    "val2017",
    "images",
    "result",
)
_KEYS = (b"images", b"annotations", b"categories", b"info", b"licenses")
_HEAD = 4096  # bytes of a file, in which one of the keys is
_LIMIT = 1024 * 2**20  # bytes of a file


def looks_like(product: Path) -> bool:
    """Whether a file of COCO's lies where tools write it."""
    return any(_files(product))


def _files(product: Path) -> Iterator[Path]:
    places = [product, *(folder for folder in folders(product) if match_key(folder.name) in _FOLDERS)]
    return (
        entry
        for place in places
        for entry in entries(place)
        if entry.suffix.lower() == ".json" and _is_coco(entry)
    )


def find(product: Path, problems: Problems) -> Found:
    """List the product's photographs by the categories of their outlines; those without any are normals."""
    images = _images(product)
    marked: dict[Path, Marked] = {}
    for file in _files(product):
        try:
            content = _load(file)
            names = {entry["id"]: str(entry["name"]) for entry in content.get("categories") or []}
            listed = _listed(content["images"], file, images, problems)
        except Exception as error:  # written by anything
            problems.error(Kind.BROKEN_LABELS, file, f"cannot be read as COCO's: {error!r}")
            continue
        own = {
            number: marked.setdefault(image, Marked(image, file, size))
            for number, (image, size) in listed.items()
        }
        for annotation in content["annotations"]:
            _mark(annotation, own, names, file, problems)
    found = sort_marked(marked.values(), [], problems)
    if bare := sum(1 for entry in marked.values() if not entry.labels and not entry.boxes):
        found.notes.append(f"{bare} images without annotations are taken as normal")
    return found


def _images(product: Path, depth: int = 4) -> dict[str, list[Path]]:
    """Every photograph below, by its name."""
    found: dict[str, list[Path]] = {}
    waiting = [(product, depth)]
    while waiting:
        folder, left = waiting.pop()
        for entry in entries(folder):
            if is_folder(entry):
                waiting += [(entry, left - 1)] if left > 1 else []
            elif is_image_name(entry):
                found.setdefault(match_key(entry.name), []).append(entry)
    return found


def _listed(
    rows: Sequence[Mapping[str, Any]], file: Path, images: Mapping[str, list[Path]], problems: Problems
) -> dict[Any, tuple[Path, tuple[int, int]]]:
    """The photographs that the file lists, with their sizes, by number; one that is not there is told."""
    listed = {}
    for row in rows:
        name = str(row["file_name"])
        parts = (PureWindowsPath(name) if "\\" in name else PurePosixPath(name)).parts
        candidates = images.get(match_key(parts[-1]), []) if parts else []
        # The file's own folder first, then the longest end of the path that fits.
        near = sorted(candidates, key=lambda path: (-_common(path.parts, parts), path.parent != file.parent))
        if near:
            listed[row["id"]] = near[0], (int(row["width"]), int(row["height"]))
        else:
            problems.warn(Kind.MISSING_FILE, file, f"lists {name}, which is not there; left out")
    return listed


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many last parts of two paths agree."""
    count = 0
    for one, other in zip(reversed(ours), reversed(theirs), strict=False):
        if match_key(one) != match_key(other):
            break
        count += 1
    return count


def _mark(
    annotation: Mapping[str, Any],
    own: Mapping[Any, Marked],
    names: Mapping[Any, str],
    file: Path,
    problems: Problems,
) -> None:
    try:
        marked = own.get(annotation["image_id"])
        if marked is None:
            return
        label = names.get(annotation.get("category_id"), "defect")
        outline = annotation.get("segmentation")
        if isinstance(outline, Mapping):
            height, width = outline["size"]
            counts = outline["counts"]
            counts = decode_runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
            marked.runs(label, counts, (int(width), int(height)))
        elif outline:
            for flat in outline:
                marked.polygon(label, list(zip(flat[::2], flat[1::2], strict=True)))
        else:
            marked.boxes += 1
    except Exception as error:  # one bad outline is one line of the report
        number = annotation.get("id") if isinstance(annotation, Mapping) else annotation
        problems.warn(Kind.BROKEN_LABELS, file, f"annotation {number}: {error!r}; left out")


def decode_runs(text: str) -> list[int]:
    """Return the lengths in COCO's compressed text: 5 bits a character, differences from the fourth on."""
    counts: list[int] = []
    characters = iter(text.encode("ascii"))
    for character in characters:
        value, shift = 0, 0
        while True:
            bits = character - 48
            value |= (bits & 0x1F) << shift
            shift += 5
            if not bits & 0x20:
                break
            character = next(characters)
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def _is_coco(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
        if not any(b'"%s"' % key in head for key in _KEYS):
            return False
        content = _load(file)
        return isinstance(content["images"], list) and isinstance(content["annotations"], list)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _load(file: Path) -> Any:
    if file.stat().st_size > _LIMIT:
        raise ValueError("larger than 1 GiB")
    return json.loads(file.read_bytes())
