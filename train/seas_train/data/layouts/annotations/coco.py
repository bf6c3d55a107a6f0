"""COCO: one JSON file with images, categories and the outline of every instance, as polygons or runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seas_runtime.dataset.formats.shapes.runs import decode_runs
from seas_train.data.layouts.annotations.photographs import Photographs
from seas_train.data.layouts.annotations.shapes import Marked, sort_marked
from seas_train.data.layouts.found import Found, entries, folders
from seas_train.data.names import match_key
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
    marked, normals = read(product, problems)
    found = sort_marked(marked, normals, problems)
    if bare := sum(1 for entry in marked if not (entry.labels or entry.boxes or entry.broken)):
        found.notes.append(f"{bare} images without annotations are taken as normal")
    return found


def read(product: Path, problems: Problems) -> tuple[list[Marked], list[Path]]:
    """Return what is marked on each listed photograph."""
    photographs = Photographs(product)
    marked: dict[Path, Marked] = {}
    for file in _files(product):
        try:
            content = _load(file)
            names = {entry["id"]: str(entry["name"]) for entry in content.get("categories") or []}
            listed = _listed(content["images"], file, photographs, problems)
        except Exception as error:  # written by anything
            problems.error(Kind.BROKEN_LABELS, file, f"cannot be read as COCO's: {error!r}")
            continue
        own = {
            number: marked.setdefault(image, Marked(image, file, size))
            for number, (image, size) in listed.items()
        }
        for annotation in content["annotations"]:
            _mark(annotation, own, names, file, problems)
    return list(marked.values()), []


def _listed(
    rows: Sequence[Mapping[str, Any]], file: Path, photographs: Photographs, problems: Problems
) -> dict[Any, tuple[Path, tuple[int, int]]]:
    """The photographs that the file lists, with their sizes, by number; one that is not there is told."""
    listed = {}
    for row in rows:
        name = str(row["file_name"])
        if (found := photographs.named(name, file)) is not None:
            listed[row["id"]] = found, (int(row["width"]), int(row["height"]))
        else:
            problems.warn(Kind.MISSING_FILE, file, f"lists {name}, which is not there; left out")
    return listed


def _mark(
    annotation: Mapping[str, Any],
    own: Mapping[Any, Marked],
    names: Mapping[Any, str],
    file: Path,
    problems: Problems,
) -> None:
    marked = None
    try:
        marked = own.get(annotation["image_id"])
        if marked is None:
            return
        label = names.get(annotation.get("category_id"), "defect")
        outline, weak = annotation.get("segmentation"), annotation.get("weak") is True
        if isinstance(outline, Mapping):
            height, width = outline["size"]
            counts = outline["counts"]
            counts = decode_runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
            marked.runs(label, counts, (int(width), int(height)), weak=weak)
        elif outline:
            for flat in outline:
                marked.polygon(label, list(zip(flat[::2], flat[1::2], strict=True)), weak=weak)
        elif box := annotation.get("bbox"):
            left, top, width, height = map(float, box)
            marked.box(label, (left, top), (left + width, top + height))
        else:
            marked.lines += 1
    except Exception as error:  # one bad outline is one line of the report
        number = annotation.get("id") if isinstance(annotation, Mapping) else annotation
        problems.warn(Kind.BROKEN_LABELS, file, f"annotation {number}: {error!r}; left out")
        if marked is not None:
            marked.broken += 1


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
